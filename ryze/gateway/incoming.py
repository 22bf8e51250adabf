"""Frames from a client, fast (RFC 6455, section 5): bytes in, messages out.

A subscriber sends next to nothing, and wsproto reads that. A publisher sends a hundred
thousand frames a second: this reader takes a whole chunk of them in one pass and costs a tenth.
It knows no extensions, and leaves the UTF-8 of a text to whoever decodes it.
"""

from collections.abc import Iterator
from typing import NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - platforms without a compiled wheel
    from websockets.utils import apply_mask

from ryze.errors import RyzeError
from ryze.gateway.disconnects import (
    INVALID_TEXT,
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    Disconnect,
)

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "FrameError",
    "FrameReader",
    "check_close",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_FIN = 0x80
_RESERVED = 0x70
_OPCODE = 0x0F
_MASKED = 0x80
_LENGTH = 0x7F
# The first byte of nearly every frame: nothing about it needs to be checked.
_WHOLE_TEXT = _FIN | TEXT
_KNOWN = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))

# Section 7.4: those that an endpoint may send, besides 3000-4999.
_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


class FrameError(RyzeError):
    """The peer broke the protocol.

    Args:
        disconnect: what to tell it.
    """

    def __init__(self, disconnect: Disconnect) -> None:
        super().__init__(disconnect.reason)
        self.disconnect = disconnect


class _Frame(NamedTuple):
    """One frame in a buffer: its payload is buffer[start:end], masked with the bytes before."""

    fin: int
    opcode: int
    start: int
    end: int


class FrameReader:
    """Puts a client's messages together.

    Args:
        max_bytes: of a message; a larger one is refused as soon as that is known.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # What has come in and is no whole frame yet, and how long it must get to become one.
        self._buffer = bytearray()
        self._needed = 2
        # The message of which some frames have come: its opcode and their payloads.
        self._opcode = CONTINUATION
        self._fragments = bytearray()

    def receive_data(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Feed bytes; the whole messages and control frames in them, as (opcode, payload).

        Raises:
            FrameError: at the first frame that breaks a rule; nothing may be fed after it.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            # One copy, so that slices are bytes and cheap; what is left over is small.
            data = bytes(self._buffer)
            self._buffer.clear()
        position = 0
        while frame := self._frame(data, position):
            fin, opcode, start, position = frame
            payload = apply_mask(data[start:position], data[start - 4 : start])
            if fin and opcode and not self._opcode:
                yield opcode, payload
            elif message := self._assembled(fin, opcode, payload):
                yield message
        self._buffer += data[position:]

    def _frame(self, chunk: bytes, position: int) -> _Frame | None:
        """The frame at `position`; None, with `_needed` set, if it is not all there."""
        start = position + 2
        if len(chunk) < start:
            self._needed = 2
            return None
        first, second = chunk[position], chunk[position + 1]
        length = second & _LENGTH
        if length >= 126:
            start += 2 if length == 126 else 8
            if len(chunk) < start:
                self._needed = start - position
                return None
            length = _extended_length(chunk[position + 2 : start])
        if first != _WHOLE_TEXT or self._opcode or not second & _MASKED or length > self._max_bytes:
            self._check(first, second, length)
        end = start + 4 + length
        if len(chunk) < end:
            self._needed = end - position
            return None
        return _Frame(first & _FIN, first & _OPCODE, start + 4, end)

    def _check(self, first: int, second: int, length: int) -> None:
        opcode = first & _OPCODE
        is_control = opcode >= CLOSE
        if (
            first & _RESERVED
            or opcode not in _KNOWN
            or not second & _MASKED
            or (is_control and (length > 125 or not first & _FIN))
            or (not is_control and (opcode == CONTINUATION) != (self._opcode != CONTINUATION))
        ):
            raise FrameError(PROTOCOL_ERROR)
        if not is_control and length + len(self._fragments) > self._max_bytes:
            raise FrameError(MESSAGE_TOO_BIG)

    def _assembled(self, fin: int, opcode: int, payload: bytes) -> tuple[int, bytes] | None:
        """A control frame between fragments, or the message that this frame completes."""
        if opcode >= CLOSE:
            return opcode, payload
        self._opcode = self._opcode or opcode
        self._fragments += payload
        if not fin:
            return None
        message = self._opcode, bytes(self._fragments)
        self._opcode = CONTINUATION
        self._fragments.clear()
        return message


def check_close(payload: bytes) -> None:
    """Is this the payload of a close frame? (sections 5.5.1 and 7.4).

    Raises:
        FrameError: it is not.
    """
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or (code not in _CLOSE_CODES and not 3000 <= code <= 4999):
        raise FrameError(PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise FrameError(INVALID_TEXT) from error


def _extended_length(field: bytes) -> int:
    length = int.from_bytes(field, "big")
    # Section 5.2: the shortest form, and the most significant bit is 0.
    if length < (126 if len(field) == 2 else 65536) or length >> 63:
        raise FrameError(PROTOCOL_ERROR)
    return length
