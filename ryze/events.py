"""What producers send, and what clients get.

An event comes in as ``{"event": <one of six>, "data": {...}}`` and goes out as the
envelope ``{"event": ..., "data": ..., "instanceData": {...}}`` (contract, sections 4
and 6). ``data`` is never parsed into objects: it is checked, and passed on byte for byte.
"""

from typing import Literal, TypeVar, cast, get_args

import msgspec

from ryze.errors import InvalidEvent
from ryze.media import without_base64

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

# The six event names, in the order of the contract.
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


class Event(msgspec.Struct, frozen=True):
    """One event of one instance.

    Args:
        type: one of the six event names.
        data: the JSON object that the producer sent, verbatim, valid UTF-8.

    A struct, as one is made for every event: a tenth of what a frozen dataclass costs.
    """

    type: EventType
    data: bytes
    # What without_media() came to, once somebody has asked.
    _slim: bytes | None = None

    def without_media(self) -> bytes:
        """`data` without ``media.base64``; worked out once."""
        if self._slim is None:
            msgspec.structs.force_setattr(self, "_slim", without_base64(self.data))
        return cast(bytes, self._slim)

    def envelope(self, instance_data: bytes, *, media: bool = True) -> bytes:
        """The JSON document that clients receive: exactly three keys, in this order."""
        data = self.data if media else self.without_media()
        return b'{"event":"%b","data":%b,"instanceData":%b}' % (
            self.type.encode(),
            data,
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
    return _event(_decode(_one, body))


def decode_events(body: bytes) -> list[Event]:
    """One event or a JSON array of them: all of them, or none.

    Raises:
        InvalidEvent: says what is wrong with the first bad one.
    """
    if body.lstrip(b" \t\r\n")[:1] != b"[":
        return [decode_event(body)]
    return [_event(document) for document in _decode(_many, body)]


def instance_data(base_url: str, name: str, token: str) -> bytes:
    """The ``instanceData`` object of an instance's envelopes."""
    return msgspec.json.encode({"baseUrl": base_url, "instance": name, "token": token})


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        # msgspec.Raw takes the inside of strings unseen, and a text frame must be UTF-8.
        if not body.isascii():
            body.decode()
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(str(error)) from error
    except RecursionError as error:
        raise InvalidEvent("nested too deeply") from error


def _event(document: _Document) -> Event:
    data = bytes(document.data)
    if data[:1] != b"{":
        raise InvalidEvent("`data` must be an object")
    return Event(document.event, data)
