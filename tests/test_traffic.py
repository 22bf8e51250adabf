"""Made-up traffic: what real producers send, to the key, and the same for the same seed."""

import base64
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ryze.events import EVENT_TYPES, decode_event
from ryze.traffic import TimedEvent, Traffic, at_rate

START = datetime(2026, 4, 28, 10, 30, tzinfo=UTC)
FIXTURES = Path(__file__).parent / "fixtures" / "events"

seeds = st.integers(0, 2**32)
few = settings(max_examples=15, deadline=None)


def traffic(seed: int, count: int = 800, **how: Any) -> list[TimedEvent]:
    return list(itertools.islice(Traffic(Random(seed), START, **how).events(), count))


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


@few
@given(seeds)
def test_every_event_is_one(seed: int) -> None:
    for event in traffic(seed):
        decoded = decode_event(event.encode())
        assert decoded.type == event.event_name
        assert json.loads(decoded.data) == event.data


@few
@given(seeds)
def test_all_types_in_all_shapes_come_soon(seed: int) -> None:
    events = traffic(seed, 400)
    assert {event.event_name for event in events} == set(EVENT_TYPES)
    assert {is_live(event) for event in exchanges(events)} == {True, False}
    kinds = {kind(event) for event in exchanges(traffic(seed, 3000))}
    assert kinds == {
        "text",
        "image",
        "audio",
        "location",
        "buttons_response",
        "message_edit",
        "message_revoke",
    }


@few
@given(seeds)
def test_the_same_seed_gives_the_same_events(seed: int) -> None:
    assert traffic(seed, 200) == traffic(seed, 200)
    assert traffic(seed, 200) != traffic(seed + 1, 200)


@few
@given(seeds)
def test_what_is_referred_to_came_before(seed: int) -> None:
    known: set[str] = set()
    delivered: set[str] = set()
    read: set[str] = set()
    for event in traffic(seed):
        data = event.data
        if event.event_name == "message.status":
            ids = set(data["messageIds"])
            assert ids <= known
            if data["status"] == "read":
                assert ids <= delivered
                assert not ids & read
                read |= ids
            else:
                delivered |= ids
        elif event.event_name == "message.exchange":
            if kind(event) == "message_edit":
                assert data["message"]["edit"]["original_id"] in known
            assert (data["id"] in known) == (kind(event) == "message_revoke")
            known.add(data["id"])
    assert read


@few
@given(seeds)
def test_receipts_are_for_what_was_sent(seed: int) -> None:
    events = traffic(seed)
    outgoing = {
        event.data["id"]
        for event in exchanges(events)
        if message_of(event)["direction"] == "outgoing"
    }
    receipts = [event.data for event in events if event.event_name == "message.status"]
    assert {each for data in receipts for each in data["messageIds"]} <= outgoing


def keys(value: Any, path: str) -> Iterator[tuple[str, frozenset[str]]]:
    """The keys of every object inside, with the path to it."""
    if isinstance(value, dict):
        yield path, frozenset(value)
        for key, inside in value.items():
            yield from keys(inside, f"{path}.{key}")
    elif isinstance(value, list):
        for inside in value:
            yield from keys(inside, f"{path}[]")


def shape(name: str, data: dict[str, Any]) -> set[tuple[str, frozenset[str]]]:
    live = name == "message.exchange" and "chat" in data
    return set(keys(data, f"live {name}" if live else name))


def test_every_object_has_the_keys_that_real_producers_send() -> None:
    fixtures = [json.loads(path.read_text()) for path in sorted(FIXTURES.glob("*.json"))]
    known = set().union(*(shape(each["event"], each["data"]) for each in fixtures))
    seen = set().union(*(shape(each.event_name, each.data) for each in traffic(1, 3000)))
    assert seen == known


def test_keys_stand_in_the_order_of_the_fixtures() -> None:
    live = json.loads((FIXTURES / "message.exchange.live.text.json").read_text())["data"]
    of_catalogue = json.loads((FIXTURES / "message.exchange.catalog.text.json").read_text())["data"]
    texts = [event for event in exchanges(traffic(1)) if kind(event) == "text"]
    for event in texts:
        expected = live if is_live(event) else of_catalogue
        assert list(event.data) == list(expected)
        assert list(event.data["message"]) == list(expected["message"])


def test_time_goes_on_and_stands_in_the_events() -> None:
    now = START
    for event in traffic(3):
        assert event.after_seconds >= 0
        now += timedelta(seconds=event.after_seconds)
        holder = message_of(event) if event.event_name == "message.exchange" else event.data
        if event.event_name != "label.update":
            told = datetime.fromisoformat(holder["timestamp"])
            assert timedelta(0) <= now - told < timedelta(seconds=1, milliseconds=1)


def test_pictures_are_pictures_of_about_the_size_that_was_asked() -> None:
    images = [event for event in exchanges(traffic(5, media_bytes=9000)) if kind(event) == "image"]
    for event in images:
        picture = base64.b64decode(event.data["message"]["media"]["base64"], validate=True)
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert picture.endswith(b"IEND\xaeB`\x82")
        assert 8000 < len(picture) < 10_000


def test_more_phones_do_more() -> None:
    def seconds(phones: int) -> float:
        return sum(event.after_seconds for event in traffic(7, 1000, phones=phones))

    assert seconds(4) < seconds(1) / 2


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
