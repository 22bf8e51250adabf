"""Validates the frames of a subscriber, and discards its messages.

Only the control frames of a subscriber have a meaning. Its messages are checked (RFC 6455,
sections 5 and 8.1; RFC 7692 where permessage-deflate was negotiated) and counted against the size
limit; the first invalid byte ends the connection. No payload of a message is kept, so memory per
subscriber is bounded: an incomplete header or control frame, and the inflater (some 40 KiB) while
a compressed message is coming in.
"""

import codecs
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ryze.disconnects import INVALID_UTF8, MESSAGE_TOO_BIG, PROTOCOL_ERROR
from ryze.websocket.client_frames import (
    CLOSE,
    FIN,
    LENGTH,
    OPCODE,
    RSV1,
    TEXT,
    FrameError,
    check_frame,
    extended_length,
    unmask,
)

__all__ = ["FrameValidator"]

# Bytes of the extended length field, by the 7 bit length that announces it.
_FIELD_BYTES = {126: 2, 127: 8}
_MASK_BYTES = 4

# The bytes that the sender has removed from the end (RFC 7692, section 7.2.2), then an empty final
# block: the inflater reaches its end only if the blocks before were complete.
_TAIL = b"\x00\x00\xff\xff" + b"\x01\x00\x00\xff\xff"

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class FrameValidator:
    """Validator of a client's frames that yields control frames only.

    Args:
        max_bytes: limit of a message, inflated; a larger one is refused as soon as possible.
        compression: permessage-deflate was negotiated, without context takeover.
    """

    __slots__ = ("_compression", "_frame", "_header", "_max_bytes", "_message")

    def __init__(self, max_bytes: int, *, compression: bool = False) -> None:
        self._max_bytes = max_bytes
        self._compression = compression
        # The first bytes of an incomplete frame header.
        self._header = b""
        # The frame and the message whose payload is incomplete.
        self._frame: _Frame | None = None
        self._message: _Message | None = None

    def receive_data(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Feed bytes; yields the control frames that they complete, as (opcode, payload).

        Raises:
            FrameError: at the first invalid byte; nothing may be fed after it.
        """
        data, self._header = self._header + data, b""
        position = 0
        while True:
            if self._frame is None:
                self._frame = self._next_frame(data, position)
                if self._frame is None:
                    self._header = data[position:]
                    return
                position += self._frame.header_bytes
            end = min(len(data), position + self._frame.left)
            control = self._take(self._frame, data[position:end])
            position = end
            if control is not None:
                yield control
            elif self._frame is not None:
                return

    def _next_frame(self, data: bytes, position: int) -> "_Frame | None":
        """Parse the frame header at `position`; None if it is incomplete."""
        if len(data) < position + 2:
            return None
        first, second = data[position], data[position + 1]
        check_frame(
            first, second, in_message=self._message is not None, compression=self._compression
        )
        length = second & LENGTH
        start = position + 2 + _FIELD_BYTES.get(length, 0)
        if len(data) < start:
            return None
        if length > 125:
            length = extended_length(data[position + 2 : start])
        self._check_size(first, length)
        end = start + _MASK_BYTES
        if len(data) < end:
            return None
        if self._message is None and first & OPCODE < CLOSE:
            self._message = _Message(self._max_bytes, first & OPCODE == TEXT, bool(first & RSV1))
        return _Frame(first, end - position, length, data[start:end])

    def _check_size(self, first: int, length: int) -> None:
        """Refuse a frame that is too big by its header; a compressed one only when inflated."""
        if first & OPCODE < CLOSE and not first & RSV1:
            room = self._message.room if self._message else self._max_bytes
            if room is not None and length > room:
                raise FrameError(MESSAGE_TOO_BIG)

    def _take(self, frame: "_Frame", masked: bytes) -> tuple[int, bytes] | None:
        """Take the next part of a payload; returns the control frame that it completes, if any."""
        payload = frame.take(masked)
        opcode = frame.first & OPCODE
        if opcode >= CLOSE:
            frame.payload += payload
        elif self._message is not None:
            self._message.feed(payload)
        if frame.left:
            return None
        self._frame = None
        if opcode >= CLOSE:
            return opcode, frame.payload
        if frame.first & FIN and self._message is not None:
            self._message.finish()
            self._message = None
        return None


@dataclass(slots=True)
class _Frame:
    """A frame whose payload is incomplete.

    Args:
        first: its first byte: flags and opcode.
        header_bytes: length of its header.
        left: bytes of its payload that have not come.
        mask: rotated so that its first byte belongs to the next byte of the payload.
        payload: received so far; kept for control frames only.
    """

    first: int
    header_bytes: int
    left: int
    mask: bytes
    payload: bytes = b""

    def take(self, masked: bytes) -> bytes:
        payload = unmask(masked, self.mask)
        self.left -= len(masked)
        turn = len(masked) % _MASK_BYTES
        self.mask = self.mask[turn:] + self.mask[:turn]
        return payload


class _Message:
    """An incomplete message: the bytes left to its limit, its UTF-8 decoder and its inflater."""

    __slots__ = ("_inflater", "_room", "_text")

    def __init__(self, max_bytes: int, is_text: bool, is_deflated: bool) -> None:
        self._room = max_bytes
        self._text = _Utf8Decoder() if is_text else None
        self._inflater = _new_inflater() if is_deflated else None

    @property
    def room(self) -> int | None:
        """Payload bytes that may still come; None if the message is compressed."""
        return self._room if self._inflater is None else None

    def feed(self, data: bytes) -> None:
        if self._inflater is None:
            self._measure(data)
        else:
            self._inflate(data)

    def finish(self) -> None:
        """Check that the message may end here."""
        if self._inflater is not None and not self._inflater.eof:
            self._inflate(_TAIL)
            if not self._inflater.eof:
                raise FrameError(PROTOCOL_ERROR)
        self._decode(b"", final=True)

    def _inflate(self, data: bytes) -> None:
        while data and self._inflater is not None:
            if self._inflater.eof:
                # A final block may be followed by more blocks (RFC 7692, section 7.2.3.4).
                self._inflater = _new_inflater()
            try:
                # At most one byte over the limit, so a compression bomb is not inflated.
                piece = self._inflater.decompress(data, self._room + 1)
            except zlib.error as error:
                raise FrameError(PROTOCOL_ERROR) from error
            self._measure(piece)
            data = self._inflater.unused_data

    def _measure(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            raise FrameError(MESSAGE_TOO_BIG)
        self._decode(data, final=False)

    def _decode(self, data: bytes, *, final: bool) -> None:
        if self._text is None:
            return
        try:
            self._text.decode(data, final)
        except UnicodeDecodeError as error:
            raise FrameError(INVALID_UTF8) from error
        # The decoder reports a surrogate at its third byte, but the second is invalid already.
        begun = self._text.getstate()[0]
        if begun[:1] == b"\xed" and begun[1:] >= b"\xa0":
            raise FrameError(INVALID_UTF8)


def _new_inflater() -> "zlib._Decompress":
    # The server never negotiates a window size, so the client may use the largest.
    return zlib.decompressobj(wbits=-zlib.MAX_WBITS)
