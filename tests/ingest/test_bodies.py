"""Decoding of complete bodies and lines: events, or the errors of the API."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from ryze.errors import ApiError, InvalidEvent
from ryze.events.event import Event
from ryze.ingest import bodies as decoding
from ryze.ingest.bodies import decode_form_body, decode_json_body, decode_line, invalid_body
from ryze.ingest.ndjson_lines import Line

EVENT = b'{"event":"call.update","data":{}}'
LARGE = b'{"event":"call.update","data":{"x":"%b"}}' % (b"x" * 256 * 1024)


async def test_json_body_is_one_event_or_an_array() -> None:
    event = Event("call.update", b"{}")
    assert await decode_json_body(EVENT) == [event]
    assert await decode_json_body(b"[%b,%b]" % (EVENT, EVENT)) == [event, event]


async def test_invalid_json_body_is_a_400_without_a_reason() -> None:
    with pytest.raises(ApiError) as raised:
        await decode_json_body(b"{}")
    assert (raised.value.status, raised.value.message) == (400, "Invalid request body")


async def test_invalid_form_is_a_400_with_the_reason() -> None:
    with pytest.raises(ApiError) as raised:
        await decode_form_body(b"", "")
    reason = "the Content-Type names no boundary"
    assert (raised.value.status, raised.value.message) == (400, f"Invalid request body: {reason}")


async def test_invalid_line_is_a_400_with_its_number() -> None:
    assert await decode_line(Line(1, EVENT)) == Event("call.update", b"{}")
    with pytest.raises(ApiError) as raised:
        await decode_line(Line(7, b"x"))
    assert raised.value.status == 400
    assert raised.value.message.startswith("Invalid request body: line 7: JSON is malformed")


def test_reasons_are_cut_to_200_characters() -> None:
    assert invalid_body("x" * 300).message == "Invalid request body: " + "x" * 200


@pytest.mark.parametrize(("text", "uses_thread"), [(EVENT, False), (LARGE, True)])
@pytest.mark.parametrize(
    ("name", "decode"),
    [
        ("decode_events", decode_json_body),
        ("decode_form", lambda body: decode_form_body(body, "b")),
        ("decode_event", lambda body: decode_line(Line(1, body))),
    ],
)
async def test_large_bodies_are_decoded_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    decode: Callable[[bytes], Any],
    text: bytes,
    uses_thread: bool,
) -> None:
    threads = []

    def record_thread(*_: object, **__: object) -> None:
        threads.append(threading.current_thread())
        raise InvalidEvent("recorded")

    monkeypatch.setattr(decoding, name, record_thread)
    with pytest.raises(ApiError):
        await decode(text)
    (thread,) = threads
    assert (thread is not threading.main_thread()) == uses_thread
