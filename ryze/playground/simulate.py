"""``ryze simulate``: generated traffic for a running server, at a given rate.

Events are sent over the producer WebSocket, one text frame per event. The clock sets the pace,
unless the server applies back-pressure: then the send waits, and of the events that are due
meanwhile only those of the last second are caught up.
"""

import itertools
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

import trio
import trio_websocket
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ryze.client import open_connection
from ryze.exception_groups import unwrap_groups
from ryze.playground.traffic import TimedEvent, Traffic, rescale_to_rate

__all__ = [
    "RateMeter",
    "format_summary",
    "publish_events",
    "send_at_rate",
    "simulate",
]

# Maximum delay that is caught up.
_MAX_LAG_SECONDS = 1.0
# Resolution of a timer: shorter pauses are accumulated.
_MIN_SLEEP_SECONDS = 0.002
# Between two updates of the progress line.
_PROGRESS_SECONDS = 0.25
# Window of the displayed rate.
_RATE_SECONDS = 3.0


class RateMeter:
    """Counter with the rate over the last seconds. Time is an argument."""

    def __init__(self) -> None:
        self.count = 0
        # Samples of time and count within the window, the oldest first; rate() maintains them.
        self._samples: deque[tuple[float, int]] = deque()

    def rate(self, now: float) -> float:
        """Return the rate per second over the last 3 s. Takes a sample: call it regularly."""
        while len(self._samples) > 1 and self._samples[1][0] <= now - _RATE_SECONDS:
            self._samples.popleft()
        self._samples.append((now, self.count))
        since, before = self._samples[0]
        return (self.count - before) / (now - since) if now > since else 0.0


# --- Publishing ---


async def publish_events(
    url: str,
    instance: str,
    token: str,
    events: Iterable[TimedEvent],
    *,
    rate: float,
    meter: RateMeter,
) -> None:
    """Publish events over one WebSocket at a given rate.

    Returns when the server has accepted the last event. If cancelled, performs the closing
    handshake, for at most 1 s.

    Args:
        url: of the server.
        instance: name of the instance.
        token: TokenInstance or TokenAccount.
        events: events with their natural pauses.
        rate: events per second.
        meter: counts the events sent.

    Raises:
        ConnectionEnded: the server refused or closed the connection, or it was lost.
    """
    async with open_connection(url, ("ws", instance, "publish"), token) as connection:

        async def send(event: TimedEvent) -> None:
            await connection.send_message(event.encode().decode())
            meter.count += 1

        async with trio.open_nursery() as nursery:
            # The server sends nothing but a close, which must be detected during a pause too.
            nursery.start_soon(connection.get_message)
            await send_at_rate(events, rate, send)
            nursery.cancel_scope.cancel()
        # The server confirms the close when it has accepted all events before it.
        await connection.aclose()
        if connection.closed is None or connection.closed.code != 1000:
            raise trio_websocket.ConnectionClosed(connection.closed)


async def send_at_rate(
    events: Iterable[TimedEvent], rate: float, send: Callable[[TimedEvent], Awaitable[None]]
) -> None:
    """Send each event when it is due, or as soon as the previous one has been sent.

    Args:
        events: events with their natural pauses, which are rescaled.
        rate: events per second.
        send: sends one event; waits under back-pressure.
    """
    due = trio.current_time()
    for pause, event in rescale_to_rate(events, rate):
        due += pause
        now = trio.current_time()
        if due > now + _MIN_SLEEP_SECONDS:
            await trio.sleep_until(due)
        elif due < now - _MAX_LAG_SECONDS:
            due = now - _MAX_LAG_SECONDS
        await send(event)


# --- The command ---


async def simulate(
    url: str,
    instance: str,
    token: str,
    *,
    rate: float,
    count: int | None,
    seed: int | None,
    console: Console,
) -> None:
    """Publish generated traffic, with a progress line and a one-line summary at the end.

    Args:
        url: of the server.
        instance: name of the instance.
        token: TokenInstance or TokenAccount.
        rate: events per second.
        count: number of events; None for no limit.
        seed: the same seed gives the same events, except for their timestamps.
        console: shows the progress, if it is a terminal, and the summary.

    Raises:
        ConnectionEnded: the server refused or closed the connection, or it was lost.
    """
    traffic = Traffic(random.Random(seed), datetime.now(UTC))
    events = itertools.islice(traffic.events(), count)
    meter = RateMeter()
    started = trio.current_time()
    try:
        with unwrap_groups():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_show_progress, console, instance, meter, count)
                await publish_events(url, instance, token, events, rate=rate, meter=meter)
                nursery.cancel_scope.cancel()
    finally:
        if meter.count:
            seconds = trio.current_time() - started
            console.print(format_summary(meter.count, instance, seconds), highlight=False)


def format_summary(count: int, instance: str, seconds: float) -> str:
    """Format count, duration and rate in one line."""
    rate = count / seconds if seconds else 0.0
    events = "1 event" if count == 1 else f"{count:,} events"
    return f"{events} published to {instance} in {seconds:.1f} s ({rate:,.0f}/s)"


async def _show_progress(
    console: Console, instance: str, meter: RateMeter, count: int | None
) -> None:
    """Show a progress line on a terminal until cancelled; elsewhere do nothing."""
    if not console.is_terminal:
        return
    # Refreshed here: Live's own refresh is a thread.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_progress_line(instance, meter, count), refresh=True)
            await trio.sleep(_PROGRESS_SECONDS)


def _progress_line(instance: str, meter: RateMeter, count: int | None) -> Text:
    of = f" of {count:,}" if count else ""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{meter.count:,}{of}", "bold")
    line.append(f" events to {instance}  ")
    line.append(f"{meter.rate(trio.current_time()):,.0f}/s", "bold cyan")
    line.append("  Ctrl-C to stop", "dim")
    return line
