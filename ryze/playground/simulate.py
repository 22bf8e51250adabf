"""``ryze simulate``: made-up traffic for a server that runs, at a chosen rate.

Events go over the publisher's WebSocket, one text frame each. Who sets the pace is the clock, as
long as the server keeps up: where it does not, the send waits (back-pressure), and what was
missed meanwhile is not made up for, except for the last second of it.
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
from ryze.playground.traffic import TimedEvent, Traffic, at_rate

__all__ = [
    "Meter",
    "publish_events",
    "send_at_rate",
    "simulate",
    "summary",
]

# Who is later than this has been held up; the pace starts anew from there.
_LATE_SECONDS = 1.0
# Shorter pauses than a timer can keep are saved up until they are worth a sleep.
_SLEEP_SECONDS = 0.002
# Between two updates of the progress line.
_PROGRESS_SECONDS = 0.25
# The rate that is shown is that of the last seconds.
_METER_SECONDS = 3.0


class Meter:
    """Counts, and knows how many came in a second lately. Time comes as an argument."""

    def __init__(self) -> None:
        # All so far.
        self.count = 0
        # The count at some moments, the oldest first; rate() adds and forgets.
        self._marks: deque[tuple[float, int]] = deque()

    def rate(self, now: float) -> float:
        """How many a second since a few seconds ago; call it regularly."""
        while len(self._marks) > 1 and self._marks[1][0] <= now - _METER_SECONDS:
            self._marks.popleft()
        self._marks.append((now, self.count))
        since, before = self._marks[0]
        return (self.count - before) / (now - since) if now > since else 0.0


# --- Publishing ---


async def publish_events(
    url: str,
    instance: str,
    token: str,
    events: Iterable[TimedEvent],
    *,
    rate: float,
    meter: Meter,
) -> None:
    """Publish events over one WebSocket, so many a second.

    Returns when there are no more, and the server has taken the last one. Cancelled, it says
    goodbye to the server, for a second at most.

    Args:
        url: the server.
        instance: to whose clients.
        token: a TokenInstance or TokenAccount.
        events: what happens, with its natural pauses.
        rate: events a second.
        meter: counts what has been sent.

    Raises:
        ConnectionEnded: the server refused, went away, or ended it.
    """

    async with open_connection(url, ("ws", instance, "publish"), token) as connection:

        async def send(event: TimedEvent) -> None:
            await connection.send_message(event.encode().decode())
            meter.count += 1

        async with trio.open_nursery() as nursery:
            # Nothing is ever received but the end, which must be noticed in a long pause too.
            nursery.start_soon(connection.get_message)
            await send_at_rate(events, rate, send)
            nursery.cancel_scope.cancel()
        # The server answers the close when it has taken everything before it.
        await connection.aclose()
        if connection.closed is None or connection.closed.code != 1000:
            raise trio_websocket.ConnectionClosed(connection.closed)


async def send_at_rate(
    events: Iterable[TimedEvent], rate: float, send: Callable[[TimedEvent], Awaitable[None]]
) -> None:
    """Send events one after the other, each at its time or as soon as the one before it is out.

    Args:
        events: with their natural pauses, which are rescaled.
        rate: events a second.
        send: waits while the server is busy.
    """
    due = trio.current_time()
    for pause, event in at_rate(events, rate):
        due += pause
        now = trio.current_time()
        if due > now + _SLEEP_SECONDS:
            await trio.sleep_until(due)
        elif due < now - _LATE_SECONDS:
            due = now - _LATE_SECONDS
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
    """Publish made-up traffic, with a progress line, and sum up in one line in the end.

    Args:
        url: the server.
        instance: to whose clients.
        token: a TokenInstance or TokenAccount.
        rate: events a second.
        count: how many events; None for no end.
        seed: the same seed gives the same events, but for the time in them.
        console: where the progress is shown, if it is a terminal, and the summary.

    Raises:
        ConnectionEnded: the server refused, went away, or ended it.
    """
    traffic = Traffic(random.Random(seed), datetime.now(UTC))
    events = itertools.islice(traffic.events(), count)
    meter = Meter()
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
            console.print(summary(meter.count, instance, seconds), highlight=False)


def summary(count: int, instance: str, seconds: float) -> str:
    """What has been done, in one line."""
    rate = count / seconds if seconds else 0.0
    events = "1 event" if count == 1 else f"{count:,} events"
    return f"{events} published to {instance} in {seconds:.1f} s ({rate:,.0f}/s)"


async def _show_progress(console: Console, instance: str, meter: Meter, count: int | None) -> None:
    """One line that changes; on anything but a terminal, none."""
    if not console.is_terminal:
        return
    # Live's own refreshing would be a thread.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_progress(instance, meter, count), refresh=True)
            await trio.sleep(_PROGRESS_SECONDS)


def _progress(instance: str, meter: Meter, count: int | None) -> Text:
    of = f" of {count:,}" if count else ""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{meter.count:,}{of}", "bold")
    line.append(f" events to {instance}  ")
    line.append(f"{meter.rate(trio.current_time()):,.0f}/s", "bold cyan")
    line.append("  Ctrl-C ends it", "dim")
    return line
