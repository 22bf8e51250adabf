"""Activities of a phone: complete, and reproducible from the seed."""

import json

from hypothesis import given

from ryze.events.decoding import decode_event
from ryze.events.event import EVENT_TYPES

from .harness import exchanges, few, is_live, kind, seeds, traffic


@few
@given(seeds)
def test_every_event_is_valid(seed: int) -> None:
    for event in traffic(seed):
        decoded = decode_event(event.encode())
        assert decoded.type == event.event_name
        assert json.loads(decoded.data) == event.data


@few
@given(seeds)
def test_all_types_and_shapes_occur_within_a_few_hundred_events(seed: int) -> None:
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
