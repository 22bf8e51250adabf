"""Frames from a producer, fast (RFC 6455, section 5): bytes in, messages out.

A producer sends a hundred thousand frames a second: this reader takes a whole chunk of them in
one pass. It knows no extensions, and leaves the UTF-8 of a text to whoever decodes it: an event
is judged when all of it is there.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ryze.disconnects import MESSAGE_TOO_BIG
from ryze.websocket.client_frames import (
    CLOSE,
    CONTINUATION,
    FIN,
    LENGTH,
    MASKED,
    OPCODE,
    TEXT,
    FrameError,
    check_frame,
    extended_length,
    unmask,
)

__all__ = ["MessageReader"]

# The first byte of nearly every frame: nothing about it needs to be checked.
_WHOLE_TEXT = FIN | TEXT


class _Frame(NamedTuple):
    """One frame in a buffer: its payload is buffer[start:end], masked with the bytes before."""

    fin: int
    opcode: int
    start: int
    end: int


class MessageReader:
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
            payload = unmask(data[start:position], data[start - 4 : start])
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
        length = second & LENGTH
        if length >= 126:
            start += 2 if length == 126 else 8
            if len(chunk) < start:
                self._needed = start - position
                return None
            length = extended_length(chunk[position + 2 : start])
        if first != _WHOLE_TEXT or self._opcode or not second & MASKED or length > self._max_bytes:
            self._check(first, second, length)
        end = start + 4 + length
        if len(chunk) < end:
            self._needed = end - position
            return None
        return _Frame(first & FIN, first & OPCODE, start + 4, end)

    def _check(self, first: int, second: int, length: int) -> None:
        check_frame(first, second, in_message=self._opcode != CONTINUATION)
        if first & OPCODE < CLOSE and length + len(self._fragments) > self._max_bytes:
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
