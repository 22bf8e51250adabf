"""Timestamps of the timeline, and rescaling to a rate."""

from datetime import datetime, timedelta

import pytest

from ryze.playground.traffic import TimedEvent, rescale_to_rate

from .harness import START, message_of, traffic


def test_timestamps_match_the_pauses() -> None:
    now = START
    for event in traffic(3):
        assert event.after_seconds >= 0
        now += timedelta(seconds=event.after_seconds)
        timestamped = message_of(event) if event.event_name == "message.exchange" else event.data
        if event.event_name != "label.update":
            timestamp = datetime.fromisoformat(timestamped["timestamp"])
            assert timedelta(0) <= now - timestamp < timedelta(seconds=1, milliseconds=1)


@pytest.mark.parametrize("rate", [0.5, 20, 10_000])
def test_pauses_are_rescaled_to_the_rate(rate: float) -> None:
    events = traffic(9, 500)
    paced = list(rescale_to_rate(events, rate))
    assert [event for _, event in paced] == events
    assert sum(pause for pause, _ in paced) == pytest.approx(500 / rate)
    # Bursts remain.
    assert len({round(pause * rate, 6) for pause, _ in paced}) > 100


def test_events_without_pauses_are_not_delayed() -> None:
    events = [TimedEvent(0.0, "call.update", {})] * 3
    assert list(rescale_to_rate(events, 5)) == [(0.0, event) for event in events]
