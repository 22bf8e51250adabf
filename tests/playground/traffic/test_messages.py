"""Messages and receipts: exactly the keys that real producers send."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given

from .harness import FIXTURES, exchanges, few, is_live, kind, message_of, seeds, traffic


@few
@given(seeds)
def test_receipts_are_for_outgoing_messages(seed: int) -> None:
    events = traffic(seed)
    outgoing = {
        event.data["id"]
        for event in exchanges(events)
        if message_of(event)["direction"] == "outgoing"
    }
    receipts = [event.data for event in events if event.event_name == "message.status"]
    assert {each for data in receipts for each in data["messageIds"]} <= outgoing


def keys(value: Any, path: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the keys of each nested object, with its path."""
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


def test_keys_have_the_order_of_the_fixtures() -> None:
    live = json.loads((FIXTURES / "message.exchange.live.text.json").read_text())["data"]
    of_catalogue = json.loads((FIXTURES / "message.exchange.catalog.text.json").read_text())["data"]
    texts = [event for event in exchanges(traffic(1)) if kind(event) == "text"]
    for event in texts:
        expected = live if is_live(event) else of_catalogue
        assert list(event.data) == list(expected)
        assert list(event.data["message"]) == list(expected["message"])
