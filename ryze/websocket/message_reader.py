"""Assembles the messages of a producer from its frames (RFC 6455, section 5).

A producer sends 100,000 frames per second, so a whole chunk of them is read in one pass. There
are no extensions, and the UTF-8 of a text is not checked here: the decoder of events does that
when the whole event has come.
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

# The first byte of nearly every frame; it is valid outside a message, so no check is needed.
_WHOLE_TEXT = FIN | TEXT


class _Frame(NamedTuple):
    """One frame in a buffer: its payload is buffer[start:end], its mask the 4 bytes before."""

    fin: int
    opcode: int
    start: int
    end: int


class MessageReader:
    """Reader of a client's frames that yields whole messages.

    Args:
        max_bytes: limit of a message; a larger one is refused as soon as a header announces it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # An incomplete frame, and the length at which it can be read further.
        self._buffer = bytearray()
        self._needed = 2
        # An incomplete message: its opcode (CONTINUATION if there is none), payloads so far.
        self._opcode = CONTINUATION
        self._fragments = bytearray()

    def receive_data(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Feed bytes; yields the messages and control frames they complete, as (opcode, payload).

        Raises:
            FrameError: at the first invalid frame; nothing may be fed after it.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            # One copy, so that slices are bytes and cheap; the incomplete rest is small.
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
        """Return the frame at `position`; None, with `_needed` set, if it is incomplete."""
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
        """Return a control frame between fragments, or the message that this frame completes."""
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
