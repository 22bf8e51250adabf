"""One event of an instance, and the envelope in which subscribers receive it.

A producer sends ``{"event": <one of six>, "data": {...}}``; subscribers receive the envelope
``{"event": ..., "data": ..., "instanceData": {...}}`` (contract, sections 4 and 6). ``data`` is
passed on byte for byte: it is checked, but never parsed into objects.
"""

from typing import Literal, cast, get_args

import msgspec

from ryze.errors import InvalidEvent
from ryze.events.media import with_base64, with_base64_omitted, without_base64

__all__ = ["EVENT_TYPES", "Event", "EventType", "instance_data"]

EventType = Literal[
    "message.exchange",
    "message.status",
    "call.update",
    "group.flow",
    "instance.state",
    "label.update",
]

# The size of an envelope without its three values.
_ENVELOPE_BYTES = len(b'{"event":"","data":,"instanceData":}')

# The six event types, in the order of the contract.
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


class Event(msgspec.Struct, frozen=True):
    """One event of one instance.

    Args:
        type: one of the six event types.
        data: the JSON object that the producer sent, verbatim, valid UTF-8.
        id: identifies the event; None where its instance keeps no log.
        sequence: its position in the log of its instance, from 1; None likewise.
        accepted_at: when it was accepted, in seconds since 1970; None likewise.

    A struct, because one is made per event: it costs a tenth of a frozen dataclass.
    """

    type: EventType
    data: bytes
    id: str | None = None
    sequence: int | None = None
    accepted_at: float | None = None
    # The result of without_media(), once it has been called.
    _slim: bytes | None = None
    # Likewise of with_media_omitted().
    _short: bytes | None = None

    def without_media(self) -> bytes:
        """Return `data` without ``media.base64``; computed once."""
        if self._slim is None:
            msgspec.structs.force_setattr(self, "_slim", without_base64(self.data))
        return cast(bytes, self._slim)

    def with_media_omitted(self) -> bytes:
        """Return `data` with a note that ``media.base64`` was too large; computed once."""
        if self._short is None:
            msgspec.structs.force_setattr(self, "_short", with_base64_omitted(self.data))
        return cast(bytes, self._short)

    def with_media(self, base64: bytes) -> "Event":
        """Return the same event with a file in its media object.

        Args:
            base64: the file, encoded.

        Raises:
            InvalidEvent: there is no media object, or it has a ``base64`` already.
        """
        data = with_base64(self.data, base64)
        if data is None:
            raise InvalidEvent(
                "the event needs an object data.message.media or data.media without base64"
            )
        return Event(self.type, data)

    def envelope_bytes(self, instance_data: bytes) -> int:
        """Return the size of the envelope with all of `data`, without making it."""
        return _ENVELOPE_BYTES + len(self.type) + len(self.data) + len(instance_data)

    def envelope(self, instance_data: bytes, data: bytes | None = None) -> bytes:
        """Return the JSON document that subscribers receive: exactly three keys, in this order.

        Args:
            instance_data: the result of the function of that name.
            data: replaces the event's `data`.
        """
        return b'{"event":"%b","data":%b,"instanceData":%b}' % (
            self.type.encode(),
            self.data if data is None else data,
            instance_data,
        )


def instance_data(base_url: str, name: str, token: str) -> bytes:
    """Encode the ``instanceData`` object of an instance's envelopes."""
    return msgspec.json.encode({"baseUrl": base_url, "instance": name, "token": token})
