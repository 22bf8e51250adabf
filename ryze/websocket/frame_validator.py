"""Frames from a client whose messages are of no interest: checked to the byte, and forgotten.

A subscriber has nothing to say but pings, pongs and a close. What else it sends must follow the
rules (RFC 6455, sections 5 and 8.1; RFC 7692 where permessage-deflate was negotiated) and is
measured; the first byte that breaks one ends the connection. Nothing of a message is kept, so
a client costs the same memory whatever it sends: a header at most, or a control frame, and while
a compressed message is coming in its inflater (some 40 KiB).
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

# The lengths that announce a longer field, and the bytes of it.
_FIELD_BYTES = {126: 2, 127: 8}
_MASK_BYTES = 4

# RFC 7692, section 7.2.2: what the sender has left out at the end; and a last, empty block, by
# which is seen that the sender's own were whole.
_TAIL = b"\x00\x00\xff\xff" + b"\x01\x00\x00\xff\xff"

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class FrameValidator:
    """Looks through a client's frames.

    Args:
        max_bytes: of a message, inflated; a larger one is refused as soon as that is known.
        compression: permessage-deflate was negotiated, without context takeover.
    """

    __slots__ = ("_compression", "_frame", "_header", "_max_bytes", "_message")

    def __init__(self, max_bytes: int, *, compression: bool = False) -> None:
        self._max_bytes = max_bytes
        self._compression = compression
        # The first bytes of a frame header that is not all there.
        self._header = b""
        # The frame of which some payload is still to come, and the message likewise.
        self._frame: _Frame | None = None
        self._message: _Message | None = None

    def receive_data(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Feed bytes; the whole control frames in them, as (opcode, payload).

        Raises:
            FrameError: at the first byte that breaks a rule; nothing may be fed after it.
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
        """The frame whose header is at `position`; None if that is not all there."""
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
        """Refuse what is too big before it has come, unless only inflating it would tell."""
        if first & OPCODE < CLOSE and not first & RSV1:
            room = self._message.room if self._message else self._max_bytes
            if room is not None and length > room:
                raise FrameError(MESSAGE_TOO_BIG)

    def _take(self, frame: "_Frame", masked: bytes) -> tuple[int, bytes] | None:
        """Take the next part of a frame's payload; the frame if that was the end of a control."""
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
    """A frame that is coming in.

    Args:
        first: its first byte.
        header_bytes: the bytes before its payload.
        left: bytes of its payload still to come.
        mask: turned so that it begins with the next of them.
        payload: so far, of a control frame.
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
    """A message that is coming in: how much more of it there may be, and what checks it."""

    __slots__ = ("_inflater", "_room", "_text")

    def __init__(self, max_bytes: int, is_text: bool, is_deflated: bool) -> None:
        self._room = max_bytes
        self._text = _Utf8Decoder() if is_text else None
        self._inflater = _new_inflater() if is_deflated else None

    @property
    def room(self) -> int | None:
        """How much longer it may get on the wire; None if only inflating it would tell."""
        return self._room if self._inflater is None else None

    def feed(self, data: bytes) -> None:
        if self._inflater is None:
            self._measure(data)
        else:
            self._inflate(data)

    def finish(self) -> None:
        """There is no more of it."""
        if self._inflater is not None and not self._inflater.eof:
            self._inflate(_TAIL)
            if not self._inflater.eof:
                raise FrameError(PROTOCOL_ERROR)
        self._decode(b"", final=True)

    def _inflate(self, data: bytes) -> None:
        while data and self._inflater is not None:
            if self._inflater.eof:
                # A sender may end its blocks and begin others (RFC 7692, section 7.2.3.4).
                self._inflater = _new_inflater()
            try:
                # One byte more than there may be is enough to know; a bomb gets no further.
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
        # The decoder waits for the third byte of a surrogate, which is wrong from the second on.
        begun = self._text.getstate()[0]
        if begun[:1] == b"\xed" and begun[1:] >= b"\xa0":
            raise FrameError(INVALID_UTF8)


def _new_inflater() -> "zlib._Decompress":
    # We never name a window, so the client may use the largest.
    return zlib.decompressobj(wbits=-zlib.MAX_WBITS)
