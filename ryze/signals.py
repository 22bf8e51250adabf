"""Signals that stop a program: held back during its start, then turned into an event.

A program that starts slowly blocks the signals first (`hold_stop_signals`) and handles them once
it runs in Trio (`stop_on_signal`): a signal that arrives in between is not lost.
"""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

__all__ = ["STOP_SIGNALS", "hold_stop_signals", "stop_on_signal"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_Handler = Callable[[signal.Signals], object]


def _ignore(_number: signal.Signals) -> None:
    pass


@contextmanager
def hold_stop_signals() -> Iterator[None]:
    """Block `STOP_SIGNALS` until `stop_on_signal` unblocks them, at the latest until the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@asynccontextmanager
async def stop_on_signal(
    *signals: signal.Signals, on_first: _Handler = _ignore, on_repeat: _Handler = _ignore
) -> AsyncIterator[trio.Event]:
    """Handle signals while the block runs; yield an event that the first one sets.

    Unblocks the signals, so that a pending one is handled at once. The block runs in a nursery:
    what it raises arrives in an exception group. Main thread only.

    Args:
        signals: `STOP_SIGNALS` by default.
        on_first: called with the first signal, before the event is set.
        on_repeat: called with each further signal.
    """
    numbers = signals or STOP_SIGNALS
    stop = trio.Event()
    with trio.open_signal_receiver(*numbers) as received:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_handle, received, stop, on_first, on_repeat)
            yield stop
            nursery.cancel_scope.cancel()


async def _handle(
    received: AsyncIterator[int], stop: trio.Event, on_first: _Handler, on_repeat: _Handler
) -> None:
    async for number in received:
        if stop.is_set():
            on_repeat(signal.Signals(number))
        else:
            on_first(signal.Signals(number))
            stop.set()
