"""Producers of the demo, and detection of events from other producers."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from random import Random

import msgspec

from ryze.events.event import Event
from ryze.playground.demo.environment import Environment, Instance
from ryze.playground.simulate import publish_events
from ryze.playground.traffic import TimedEvent, Traffic

__all__ = ["OwnEvents", "run_producer"]


class OwnEvents:
    """Tells events of the demo's producers from those of other producers."""

    def __init__(self) -> None:
        # Data of events that are sent and not yet received; equal data may be in flight twice.
        self._in_flight: Counter[bytes] = Counter()

    def track(self, events: Iterable[TimedEvent]) -> Iterator[TimedEvent]:
        """Yield events that are about to be sent, and remember them."""
        for event in events:
            self._in_flight[msgspec.json.encode(event.data)] += 1
            yield event

    def is_own(self, event: Event) -> bool:
        """Is a received event one of the tracked ones? If so, stop tracking it."""
        remaining = self._in_flight.pop(event.data, 0) - 1
        if remaining > 0:
            self._in_flight[event.data] = remaining
        return remaining >= 0


async def run_producer(
    environment: Environment,
    instance: Instance,
    rate: float,
    seed: int,
    own_events: OwnEvents | None = None,
) -> None:
    """Publish to an instance until cancelled; `own_events` tracks the events."""
    media_bytes = environment.plan.media_bytes
    events = Traffic(Random(seed), datetime.now(UTC), media_bytes=media_bytes).events()
    if own_events is not None:
        events = own_events.track(events)
    await publish_events(
        environment.server.url,
        instance.name,
        instance.token,
        events,
        rate=rate,
        meter=environment.dashboard.published,
    )
