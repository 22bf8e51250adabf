"""What producers send, and what clients get.

An event comes in as ``{"event": <one of six>, "data": {...}}`` and goes out as the
envelope ``{"event": ..., "data": ..., "instanceData": {...}}`` (contract, sections 4
and 6). ``data`` is never parsed into objects: it is checked, and passed on byte for byte.
"""

from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Literal, TypeVar, cast, get_args

import msgspec

from ryze.errors import InvalidEvent
from ryze.events.media import with_base64, with_base64_omitted, without_base64
from ryze.events.surrogates import hide

__all__ = ["EVENT_TYPES", "Event", "EventType", "decode_event", "decode_events", "instance_data"]

_T = TypeVar("_T")

EventType = Literal[
    "message.exchange",
    "message.status",
    "call.update",
    "group.flow",
    "instance.state",
    "label.update",
]

# How many bytes an envelope has besides its three values.
_ENVELOPE_BYTES = len(b'{"event":"","data":,"instanceData":}')

# The six event names, in the order of the contract.
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


class Event(msgspec.Struct, frozen=True):
    """One event of one instance.

    Args:
        type: one of the six event names.
        data: the JSON object that the producer sent, verbatim, valid UTF-8.
        id: identifies the event; None where its instance keeps no log.
        sequence: its position in the log of its instance, from 1; None likewise.
        accepted_at: when it was accepted, in seconds since 1970; None likewise.

    A struct, as one is made for every event: a tenth of what a frozen dataclass costs.
    """

    type: EventType
    data: bytes
    id: str | None = None
    sequence: int | None = None
    accepted_at: float | None = None
    # What without_media() came to, once somebody has asked.
    _slim: bytes | None = None
    # Likewise of with_media_omitted().
    _short: bytes | None = None

    def without_media(self) -> bytes:
        """`data` without ``media.base64``; worked out once."""
        if self._slim is None:
            msgspec.structs.force_setattr(self, "_slim", without_base64(self.data))
        return cast(bytes, self._slim)

    def with_media_omitted(self) -> bytes:
        """`data` that says where ``media.base64`` was too large to stay; worked out once."""
        if self._short is None:
            msgspec.structs.force_setattr(self, "_short", with_base64_omitted(self.data))
        return cast(bytes, self._short)

    def with_media(self, base64: bytes) -> "Event":
        """The same event with a file in its media object.

        Args:
            base64: the file, encoded.

        Raises:
            InvalidEvent: there is no media object, or something stands there already.
        """
        data = with_base64(self.data, base64)
        if data is None:
            raise InvalidEvent(
                "the event needs an object data.message.media or data.media without base64"
            )
        return Event(self.type, data)

    def envelope_bytes(self, instance_data: bytes) -> int:
        """The size of the envelope that has all of `data`, without making it."""
        return _ENVELOPE_BYTES + len(self.type) + len(self.data) + len(instance_data)

    def envelope(self, instance_data: bytes, data: bytes | None = None) -> bytes:
        """The JSON document that clients receive: exactly three keys, in this order.

        Args:
            instance_data: see the function of that name.
            data: what to say instead of all of `data`.
        """
        return b'{"event":"%b","data":%b,"instanceData":%b}' % (
            self.type.encode(),
            self.data if data is None else data,
            instance_data,
        )


class _Document(msgspec.Struct):
    event: EventType
    data: msgspec.Raw


_one = msgspec.json.Decoder(_Document)
_many = msgspec.json.Decoder(list[_Document])


def decode_event(body: bytes) -> Event:
    """One event from the JSON that a producer sent.

    Raises:
        InvalidEvent: says what is wrong with it.
    """
    try:
        return _event(_decode(_one, body))
    except InvalidEvent as error:
        return _decode_hidden(body, error, lambda hidden: [_event(_decode(_one, hidden))])[0]


def decode_events(body: bytes) -> list[Event]:
    """One event or a JSON array of them: all of them, or none.

    Raises:
        InvalidEvent: says what is wrong with the first bad one.
    """
    if body.lstrip(b" \t\r\n")[:1] != b"[":
        return [decode_event(body)]
    try:
        return _decode_many(body)
    except InvalidEvent as error:
        return _decode_hidden(body, error, _decode_many)


def instance_data(base_url: str, name: str, token: str) -> bytes:
    """The ``instanceData`` object of an instance's envelopes."""
    return msgspec.json.encode({"baseUrl": base_url, "instance": name, "token": token})


def _decode_many(body: bytes) -> list[Event]:
    return [_event(document) for document in _decode(_many, body)]


def _decode_hidden(
    body: bytes, error: InvalidEvent, decode: Callable[[bytes], list[Event]]
) -> list[Event]:
    """Decode what has been refused with `error`, if only for a surrogate."""
    hidden = hide(body)
    if hidden is None:
        raise error
    try:
        return [Event(event.type, hidden.show(event.data)) for event in decode(hidden.body)]
    except InvalidEvent as other:
        raise InvalidEvent(hidden.show(str(other).encode()).decode()) from other


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        # msgspec.Raw takes the inside of strings unseen, and a text frame must be UTF-8.
        if not body.isascii():
            body.decode()
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        is_marked = body.startswith(BOM_UTF8)
        raise InvalidEvent("a byte order mark is no JSON" if is_marked else str(error)) from error
    except RecursionError as error:
        raise InvalidEvent("nested too deeply") from error


def _event(document: _Document) -> Event:
    data = bytes(document.data)
    if data[:1] != b"{":
        raise InvalidEvent("`data` must be an object")
    return Event(document.event, data)
