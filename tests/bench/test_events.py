"""All events of a run are of one size, and their numbers can be read again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.events import (
    INSTANCE_DATA,
    SMALLEST_EVENT,
    event_template,
    json_number,
    relayed_template,
)

NUMBERS = st.integers(0, 10**10 - 1)
SIZES = st.integers(SMALLEST_EVENT, 2000)


@given(SIZES, NUMBERS)
def test_an_event_has_its_size(size: int, number: int) -> None:
    assert len(event_template(size) % number) == size


@given(SIZES, NUMBERS)
def test_the_peers_get_what_our_server_makes_of_it(size: int, number: int) -> None:
    event = json.loads(event_template(size) % number)
    relayed = relayed_template(size) % number
    assert json.loads(relayed) == {**event, "instanceData": INSTANCE_DATA}
    assert json_number(relayed) == number


@pytest.mark.parametrize(
    ("ours", "other"),
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
def test_what_is_none_of_ours(ours: bytes, other: bytes) -> None:
    event = relayed_template(200) % 7
    assert json_number(event) == 7
    assert ours in event
    with pytest.raises(ValueError, match=r"not an event of ours|char|invalid literal"):
        json_number(event.replace(ours, other))


@pytest.mark.parametrize("payload", [b"", b"1", b"[]", b"{}"])
def test_what_is_no_event(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an event of ours|char 0"):
        json_number(payload)
