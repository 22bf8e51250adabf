"""The timeline: time goes on, and a rate stretches it."""

from datetime import datetime, timedelta

import pytest

from ryze.playground.traffic import TimedEvent, at_rate

from .harness import START, message_of, traffic


def test_time_goes_on_and_stands_in_the_events() -> None:
    now = START
    for event in traffic(3):
        assert event.after_seconds >= 0
        now += timedelta(seconds=event.after_seconds)
        holder = message_of(event) if event.event_name == "message.exchange" else event.data
        if event.event_name != "label.update":
            told = datetime.fromisoformat(holder["timestamp"])
            assert timedelta(0) <= now - told < timedelta(seconds=1, milliseconds=1)


@pytest.mark.parametrize("rate", [0.5, 20, 10_000])
def test_a_rate_rescales_the_pauses(rate: float) -> None:
    events = traffic(9, 500)
    paced = list(at_rate(events, rate))
    assert [event for _, event in paced] == events
    assert sum(pause for pause, _ in paced) == pytest.approx(500 / rate)
    # Bursts stay bursts.
    assert len({round(pause * rate, 6) for pause, _ in paced}) > 100


def test_events_without_pauses_come_at_once() -> None:
    events = [TimedEvent(0.0, "call.update", {})] * 3
    assert list(at_rate(events, 5)) == [(0.0, event) for event in events]
