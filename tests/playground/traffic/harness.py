"""Generated traffic and accessors for its events."""

import itertools
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from ryze.playground.traffic import TimedEvent, Traffic

START = datetime(2026, 4, 28, 10, 30, tzinfo=UTC)
FIXTURES = Path(__file__).parents[2] / "fixtures" / "events"

seeds = st.integers(0, 2**32)
few = settings(max_examples=15, deadline=None)


def traffic(seed: int, count: int = 800, **options: Any) -> list[TimedEvent]:
    return list(itertools.islice(Traffic(Random(seed), START, **options).events(), count))


def is_live(event: TimedEvent) -> bool:
    return "chat" in event.data


def message_of(event: TimedEvent) -> dict[str, Any]:
    """The object that holds `direction`, `chat` and `sender`, in either shape."""
    message: dict[str, Any] = event.data if is_live(event) else event.data["message"]
    return message


def kind(event: TimedEvent) -> str:
    return str(event.data["message"]["type"])


def exchanges(events: list[TimedEvent]) -> list[TimedEvent]:
    return [event for event in events if event.event_name == "message.exchange"]
