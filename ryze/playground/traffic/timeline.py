"""The scheduler of the scripts, and the events that come out of it.

A *script* is a generator that yields how long it waits, and between two waits emits events and
starts further scripts. A `Timeline` runs all of them in the order of their moments. It reads no
clock: its time goes on from pause to pause.
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

__all__ = ["Script", "TimedEvent", "Timeline", "at_rate"]

# Yields the seconds of its next pause.
Script = Iterator[float]

# The live shape tells local time.
_LOCAL = timezone(timedelta(hours=-3))

# Over so many events `at_rate` keeps the rate exactly; within them bursts stay bursts.
_EVENTS_PER_BAR = 50


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """One event, and how long after the one before it.

    Args:
        after_seconds: the pause before it.
        event_name: one of the six.
        data: what a producer sends as ``data``.
    """

    after_seconds: float
    event_name: EventType
    data: dict[str, Any]

    def encode(self) -> bytes:
        """The JSON document that a producer sends."""
        return msgspec.json.encode({"event": self.event_name, "data": self.data})


def at_rate(events: Iterable[TimedEvent], per_second: float) -> Iterator[tuple[float, TimedEvent]]:
    """Each event with the pause before it, rescaled so that so many come in a second."""
    rest = iter(events)
    while bar := list(itertools.islice(rest, _EVENTS_PER_BAR)):
        natural = sum(event.after_seconds for event in bar)
        scale = len(bar) / per_second / natural if natural else 0.0
        for event in bar:
            yield event.after_seconds * scale, event


class Timeline:
    """Runs scripts, and gives out what they emit.

    Args:
        random: the dice, for identifiers.
        start: the moment of the first event, for the timestamps in the data.
    """

    def __init__(self, random: Random, start: datetime) -> None:
        self._random = random
        self._start = start
        # Seconds since the start; events() moves it.
        self._now = 0.0
        # Scripts by the moment when they go on; the number keeps their order where that is equal.
        self._agenda: list[tuple[float, int, Script]] = []
        self._numbers = itertools.count()
        # What the scripts have emitted at this moment; events() takes it.
        self._emitted: list[tuple[EventType, dict[str, Any]]] = []

    def events(self) -> Iterator[TimedEvent]:
        """All events from the start on, without end."""
        last = self._now
        while True:
            self._now, _, script = heapq.heappop(self._agenda)
            pause = next(script, None)
            if pause is not None:
                self._put(pause, script)
            emitted, self._emitted = self._emitted, []
            for event_name, data in emitted:
                yield TimedEvent(self._now - last, event_name, data)
                last = self._now

    # For the scripts

    def go(self, script: Script) -> None:
        """Start a script; it begins at this very moment."""
        self._put(0.0, script)

    def emit(self, event_name: EventType, data: dict[str, Any]) -> None:
        """Something happens now."""
        self._emitted.append((event_name, data))

    def new_id(self, letters: str) -> str:
        """An identifier that no other thing has."""
        return f"{letters}{self._random.getrandbits(48):012X}"

    def utc(self) -> str:
        """The time as the catalogue writes it."""
        return self._time().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def local(self) -> str:
        """The time as the live shape writes it."""
        return self._time().astimezone(_LOCAL).isoformat(timespec="seconds")

    def _put(self, pause: float, script: Script) -> None:
        heapq.heappush(self._agenda, (self._now + pause, next(self._numbers), script))

    def _time(self) -> datetime:
        return self._start + timedelta(seconds=self._now)
