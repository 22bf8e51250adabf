import json
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest

from ryze.api.openapi.event_schemas import DATA, ENVELOPE, documents, examples
from ryze.events.decoding import decode_event
from ryze.events.event import EVENT_TYPES, instance_data
from ryze.playground.traffic import Traffic

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures/events").glob("*.json"))


def is_valid(document: object, schema: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(document))


def of_its_type(document: Any) -> dict[str, Any]:
    return documents()[f"{document['event']}.json"]


def shapes(data: object) -> list[str]:
    """Return the titles of the message shapes that `data` matches."""
    either = DATA["message.exchange"]["anyOf"]
    return [shape["title"] for shape in either if is_valid(data, shape)]


def test_each_type_has_a_schema() -> None:
    assert list(DATA) == list(EVENT_TYPES)
    assert documents().keys() == {"envelope.json", *(f"{name}.json" for name in EVENT_TYPES)}


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_real_events_and_their_frames_are_valid(file: Path) -> None:
    document = json.loads(file.read_text())
    assert is_valid(document, of_its_type(document))
    where = instance_data("https://ryze.example", "demo", "token")
    event = decode_event(file.read_bytes())
    for data in (event.data, event.without_media(), event.with_media_omitted()):
        frame = json.loads(event.envelope(where, data))
        assert is_valid(frame, ENVELOPE)
        assert is_valid({"event": frame["event"], "data": frame["data"]}, of_its_type(document))


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_real_message_has_the_shape_of_its_file_name(file: Path) -> None:
    document = json.loads(file.read_text())
    if document["event"] != "message.exchange":
        assert shapes(document["data"]) == []
        return
    expected = "Catalogue" if ".catalog." in file.name else "Live"
    assert shapes(document["data"]) == [expected]


def test_simulated_events_are_valid() -> None:
    traffic = Traffic(Random(1), datetime(2026, 4, 28, tzinfo=UTC))
    seen = set()
    for timed in islice(traffic.events(), 300):
        document = json.loads(timed.encode())
        assert is_valid(document, of_its_type(document)), document
        seen.add(timed.event_name)
    assert seen == set(EVENT_TYPES)


@pytest.mark.parametrize("name", examples())
def test_examples_are_valid(name: str) -> None:
    assert is_valid(examples()[name], of_its_type(examples()[name]))


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("message.exchange", {}),
        ("message.exchange", {"message": {}}),
        ("message.exchange", {"direction": "incoming", "chat": {}}),
        ("message.status", {"messageIds": "one", "status": "read"}),
        ("message.status", {"status": "read"}),
        ("call.update", {"callId": 1, "type": "offer"}),
        ("group.flow", {"type": "added", "groupJid": None}),
        ("instance.state", {"timestamp": "2026-04-28T10:30:00Z"}),
        ("label.update", {"type": "edit", "labelId": 7}),
    ],
)
def test_events_without_required_members_are_invalid(event: str, data: object) -> None:
    document = {"event": event, "data": data}
    assert not is_valid(document, of_its_type(document))


@pytest.mark.parametrize("event", EVENT_TYPES)
def test_unknown_members_are_allowed(event: str) -> None:
    """Members that a producer adds are no reason to refuse an event."""
    (example, *_) = (each for each in examples().values() if each["event"] == event)
    more = {**example, "data": {**example["data"], "new": [1]}, "more": None}
    assert is_valid(more, of_its_type(more))


@pytest.mark.parametrize(
    "frame",
    [
        {"event": "call.update", "data": {}},
        {"event": "call", "data": {}, "instanceData": "ok"},
        {"event": "call.update", "data": [], "instanceData": "ok"},
        {"event": "call.update", "data": {}, "instanceData": {}},
        {"event": "call.update", "data": {}, "instanceData": "ok", "more": 1},
    ],
)
def test_other_envelopes_are_invalid(frame: dict[str, Any]) -> None:
    where = {"baseUrl": "https://ryze.example", "instance": "demo", "token": "token"}
    frame = {key: where if value == "ok" else value for key, value in frame.items()}
    assert not is_valid(frame, ENVELOPE)
