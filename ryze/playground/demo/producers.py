"""The phones that publish, and how their events are told from those of guests."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from random import Random

import msgspec

from ryze.events.event import Event
from ryze.playground.demo.environment import Instance, Stage
from ryze.playground.simulate import publish_events
from ryze.playground.traffic import TimedEvent, Traffic

__all__ = ["Arrivals", "run_phone"]


class Arrivals:
    """Tells the events of our phones from those that somebody else has published."""

    def __init__(self) -> None:
        # The data of what was sent and has not arrived yet; the same may be on its way twice.
        self._expected: Counter[bytes] = Counter()

    def expect(self, events: Iterable[TimedEvent]) -> Iterator[TimedEvent]:
        """Pass on events that are about to be sent."""
        for event in events:
            self._expected[msgspec.json.encode(event.data)] += 1
            yield event

    def is_ours(self, event: Event) -> bool:
        """Whether an event that has arrived is one of them."""
        left = self._expected.pop(event.data, 0) - 1
        if left > 0:
            self._expected[event.data] = left
        return left >= 0


async def run_phone(
    stage: Stage, instance: Instance, rate: float, seed: int, arrivals: Arrivals | None = None
) -> None:
    """Publish to an instance until cancelled; the `arrivals` are told what to expect."""
    traffic = Traffic(Random(seed), datetime.now(UTC), media_bytes=stage.plan.media_bytes)
    events = traffic.events()
    if arrivals is not None:
        events = arrivals.expect(events)
    await publish_events(
        stage.server.url,
        instance.name,
        instance.token,
        events,
        rate=rate,
        meter=stage.board.published,
    )
