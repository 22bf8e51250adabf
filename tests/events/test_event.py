"""The envelope of an event."""

import json
from pathlib import Path

import pytest

from ryze.events.decoding import decode_event
from ryze.events.event import Event, instance_data

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures/events").glob("*.json"))
TAIL = instance_data("https://ryze.test", "shop", "token")


def test_instance_data_has_its_keys_in_order() -> None:
    assert instance_data("https://ryze.test", "shop", 't"k') == (
        b'{"baseUrl":"https://ryze.test","instance":"shop","token":"t\\"k"}'
    )


def test_envelope_has_three_keys_in_order() -> None:
    event = Event("call.update", b'{"a": 1}')
    assert event.envelope(b"{}") == (b'{"event":"call.update","data":{"a": 1},"instanceData":{}}')
    assert event.envelope(b"{}", b"{}") == b'{"event":"call.update","data":{},"instanceData":{}}'


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_envelope_bytes_is_the_size_of_the_envelope(path: Path) -> None:
    event = decode_event(path.read_bytes())
    assert event.envelope_bytes(TAIL) == len(event.envelope(TAIL))
    assert json.loads(event.envelope(TAIL))["instanceData"]["instance"] == "shop"
