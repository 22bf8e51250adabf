"""All events of a run have the same size, and their numbers can be parsed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.events import (
    INSTANCE_DATA,
    MIN_EVENT_BYTES,
    event_template,
    parse_event_number,
    relayed_template,
)

NUMBERS = st.integers(0, 10**10 - 1)
SIZES = st.integers(MIN_EVENT_BYTES, 2000)


@given(SIZES, NUMBERS)
def test_event_has_the_requested_size(size: int, number: int) -> None:
    assert len(event_template(size) % number) == size


@given(SIZES, NUMBERS)
def test_relayed_event_is_the_event_with_instance_data(size: int, number: int) -> None:
    event = json.loads(event_template(size) % number)
    relayed = relayed_template(size) % number
    assert json.loads(relayed) == {**event, "instanceData": INSTANCE_DATA}
    assert parse_event_number(relayed) == number


@pytest.mark.parametrize(
    ("original", "altered"),
    [
        (b"{", b""),
        (b'{"event"', b'{"more":1,"event"'),
        (b'"event"', b'"Event"'),
        (b"message.exchange", b"message.status"),
        (b'{"id":"0000000007"', b'{"id":7'),
        (b"0000000007", b"seven"),
        (b'"token":', b'"tokem":'),
        (b"gateway.example", b"gateway.test"),
    ],
)
def test_altered_event_is_rejected(original: bytes, altered: bytes) -> None:
    event = relayed_template(200) % 7
    assert parse_event_number(event) == 7
    assert original in event
    with pytest.raises(ValueError, match=r"not an event of the bench|char|invalid literal"):
        parse_event_number(event.replace(original, altered))


@pytest.mark.parametrize("payload", [b"", b"1", b"[]", b"{}"])
def test_payload_that_is_no_event_is_rejected(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an event of the bench|char 0"):
        parse_event_number(payload)
