"""Signal handling in this process; that of the server stands in tests/hostile and tests/e2e."""

import signal

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ryze.signals import STOP_SIGNALS, hold_stop_signals, stop_on_signal


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_first_signal_sets_the_event(number: signal.Signals) -> None:
    first: list[signal.Signals] = []
    async with stop_on_signal(on_first=first.append) as stop:
        await wait_all_tasks_blocked()
        assert not stop.is_set()
        signal.raise_signal(number)
        with trio.fail_after(5):
            await stop.wait()
    assert first == [number]


async def test_handlers_run_before_the_event_and_on_each_repeat() -> None:
    calls: list[tuple[str, str, bool]] = []
    async with stop_on_signal(
        on_first=lambda number: calls.append(("first", number.name, stop.is_set())),
        on_repeat=lambda number: calls.append(("repeat", number.name, stop.is_set())),
    ) as stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
            await wait_all_tasks_blocked(0.01)
    assert calls == [
        ("first", "SIGINT", False),
        ("repeat", "SIGTERM", True),
        ("repeat", "SIGTERM", True),
    ]


async def test_given_signals_are_handled_instead_of_the_default() -> None:
    async with stop_on_signal(signal.SIGHUP) as stop:
        signal.raise_signal(signal.SIGHUP)
        with trio.fail_after(5):
            await stop.wait()


async def test_held_signal_is_handled_later() -> None:
    with hold_stop_signals():
        signal.raise_signal(signal.SIGTERM)
        assert signal.sigpending() == {signal.SIGTERM}
        async with stop_on_signal() as stop:
            with trio.fail_after(5):
                await stop.wait()


def test_signals_are_unblocked_after_the_hold() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with hold_stop_signals():
        assert set(STOP_SIGNALS) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


async def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    async with stop_on_signal():
        assert [signal.getsignal(number) for number in STOP_SIGNALS] != before
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
