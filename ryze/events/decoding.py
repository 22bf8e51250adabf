"""Decode events from the JSON that producers send.

``data`` must be a JSON object in valid UTF-8; it is checked, but kept as bytes. msgspec refuses
unpaired surrogates, which JSON allows: a document that it refuses is decoded again with its
surrogates masked, so only such documents pay for them.
"""

from codecs import BOM_UTF8
from collections.abc import Callable
from typing import TypeVar

import msgspec

from ryze.errors import InvalidEvent
from ryze.events.event import Event, EventType
from ryze.events.surrogates import mask_surrogates

__all__ = ["decode_event", "decode_events"]

_T = TypeVar("_T")


class _Document(msgspec.Struct):
    event: EventType
    data: msgspec.Raw


_one = msgspec.json.Decoder(_Document)
_many = msgspec.json.Decoder(list[_Document])


def decode_event(body: bytes) -> Event:
    """Decode one event.

    Raises:
        InvalidEvent: the message says what is wrong with it.
    """
    try:
        return _event(_decode(_one, body))
    except InvalidEvent as error:
        return _decode_masked(body, error, lambda masked: [_event(_decode(_one, masked))])[0]


def decode_events(body: bytes) -> list[Event]:
    """Decode one event or a JSON array of events: all of them, or none.

    Raises:
        InvalidEvent: the message says what is wrong with the first bad one.
    """
    if body.lstrip(b" \t\r\n")[:1] != b"[":
        return [decode_event(body)]
    try:
        return _decode_many(body)
    except InvalidEvent as error:
        return _decode_masked(body, error, _decode_many)


def _decode_many(body: bytes) -> list[Event]:
    return [_event(document) for document in _decode(_many, body)]


def _decode_masked(
    body: bytes, error: InvalidEvent, decode: Callable[[bytes], list[Event]]
) -> list[Event]:
    """Decode a body that was refused with `error`, in case only a surrogate was the reason."""
    masked = mask_surrogates(body)
    if masked is None:
        raise error
    try:
        return [Event(event.type, masked.restore(event.data)) for event in decode(masked.body)]
    except InvalidEvent as other:
        raise InvalidEvent(masked.restore(str(other).encode()).decode()) from other


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        # msgspec.Raw does not check the inside of strings, and a text frame must be UTF-8.
        if not body.isascii():
            body.decode()
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        has_mark = body.startswith(BOM_UTF8)
        raise InvalidEvent("a byte order mark is no JSON" if has_mark else str(error)) from error
    except RecursionError as error:
        raise InvalidEvent("nested too deeply") from error


def _event(document: _Document) -> Event:
    data = bytes(document.data)
    if data[:1] != b"{":
        raise InvalidEvent("`data` must be an object")
    return Event(document.event, data)
