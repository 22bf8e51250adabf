"""Discrete-event scheduler of the traffic, and the events it produces.

A *script* is a generator that yields pauses; between them it emits events and starts further
scripts. A `Timeline` runs all scripts in order of time. It reads no clock: its time advances from
pause to pause.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import msgspec

from ryze.events.event import EventType

__all__ = ["Script", "TimedEvent", "Timeline", "rescale_to_rate"]

# Yields its next pause in seconds.
Script = Iterator[float]

# The live shape has local time.
_LOCAL = timezone(timedelta(hours=-3))

# `rescale_to_rate` is exact over each window of this many events; within it, bursts remain.
_EVENTS_PER_WINDOW = 50


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """One event with the pause before it.

    Args:
        after_seconds: pause since the previous event.
        event_name: one of the six event types.
        data: the ``data`` of the event.
    """

    after_seconds: float
    event_name: EventType
    data: dict[str, Any]

    def encode(self) -> bytes:
        """Encode the event as the JSON document of a producer."""
        return msgspec.json.encode({"event": self.event_name, "data": self.data})


def rescale_to_rate(
    events: Iterable[TimedEvent], per_second: float
) -> Iterator[tuple[float, TimedEvent]]:
    """Yield each event with the pause before it, rescaled to a rate in events per second."""
    remaining = iter(events)
    while window := list(itertools.islice(remaining, _EVENTS_PER_WINDOW)):
        natural = sum(event.after_seconds for event in window)
        scale = len(window) / per_second / natural if natural else 0.0
        for event in window:
            yield event.after_seconds * scale, event


class Timeline:
    """Runs scripts and yields the events they emit.

    Args:
        random: random source of the identifiers.
        start: time of the first event, for the timestamps in the data.
    """

    def __init__(self, random: Random, start: datetime) -> None:
        self._random = random
        self._start = start
        # Seconds since the start; events() advances it.
        self._now = 0.0
        # Heap of scripts by the time of their next step; the number keeps the order of equal times.
        self._scheduled: list[tuple[float, int, Script]] = []
        self._sequence = itertools.count()
        # Events emitted by the current step; events() takes them.
        self._emitted: list[tuple[EventType, dict[str, Any]]] = []

    def events(self) -> Iterator[TimedEvent]:
        """Yield all events, without end."""
        last = self._now
        while True:
            self._now, _, script = heapq.heappop(self._scheduled)
            pause = next(script, None)
            if pause is not None:
                self._schedule(pause, script)
            emitted, self._emitted = self._emitted, []
            for event_name, data in emitted:
                yield TimedEvent(self._now - last, event_name, data)
                last = self._now

    # Called by scripts.

    def start_script(self, script: Script) -> None:
        """Start a script at the current time."""
        self._schedule(0.0, script)

    def emit(self, event_name: EventType, data: dict[str, Any]) -> None:
        """Emit an event at the current time."""
        self._emitted.append((event_name, data))

    def new_id(self, prefix: str) -> str:
        """Make a unique identifier."""
        return f"{prefix}{self._random.getrandbits(48):012X}"

    def utc(self) -> str:
        """Format the current time as in the catalogue's shape."""
        return self._now_datetime().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def local(self) -> str:
        """Format the current time as in the live shape."""
        return self._now_datetime().astimezone(_LOCAL).isoformat(timespec="seconds")

    def _schedule(self, pause: float, script: Script) -> None:
        heapq.heappush(self._scheduled, (self._now + pause, next(self._sequence), script))

    def _now_datetime(self) -> datetime:
        return self._start + timedelta(seconds=self._now)
