"""Checks what one subscriber receives, without a socket: bytes in, replies out, violations raised.

A healthy subscriber mostly receives what another one has received a moment ago: one comparison of
the chunk with the expected stream, and nothing is parsed. Where that fails, frames are checked one
by one.
"""

import zlib

from bench.websocket_client import CLOSE, PING, PONG, TEXT, client_frame, parse_frames
from tests.soak.expected_stream import ExpectedStream, Violation
from tests.soak.workload import server_frame

__all__ = ["StreamChecker"]

_RSV1 = 0x40


class StreamChecker:
    """The checker of one subscriber. Create it before the upgrade request is sent.

    Args:
        expected: the stream of the subscriber's instance.
        first: it connects before all producers, so its first frame is the first of the stream.
    """

    def __init__(self, expected: ExpectedStream, *, first: bool = False) -> None:
        self._expected = expected
        # Events received by others before the connection are not for this subscriber.
        self._not_before = expected.end
        # Offset in the stream of the next byte; None until the first frame is found there.
        self._offset: int | None = expected.end if first else None
        # By producer: the first event that it must receive, see `opened`.
        self._entitled: dict[int, int] = {}
        self._deflated = False
        # A partial frame; or, while `_offset` is None, everything received.
        self._partial = b""
        # From the server's close frame; 0 until it comes.
        self.close_code = 0

    @property
    def position(self) -> int:
        """The offset from which on this checker still needs the stream."""
        return self._not_before if self._offset is None else self._offset

    @property
    def bytes_behind(self) -> int:
        """Upper bound of the bytes of the stream that it must still receive."""
        expected = self._expected
        return 0 if self.has_all(expected.end) else expected.end - self.position

    @property
    def is_ahead(self) -> bool:
        """Has received events that are not in the stream yet, so that its offset is not known."""
        return self._offset is None and bool(self._partial)

    def opened(self, *, deflated: bool = False) -> None:
        """Start at the 101: what is sent from now on must be received."""
        self._entitled = self._expected.sent
        self._deflated = deflated

    def has_all(self, until: int) -> bool:
        """Has it received all that it must up to the offset `until`?"""
        if self._offset is not None:
            return self._offset >= until
        return self._expected.first_unsent(self._not_before, until, self._entitled) is None

    def receive(self, data: bytes | memoryview) -> bytes:
        """Check received bytes; the control frames to reply with.

        Raises:
            Violation: the bytes should not have come.
        """
        expected = self._expected
        if self._offset is not None and not self._partial:
            if expected.has_at(self._offset, data):
                self._offset += len(data)
                return b""
            # The last chunk may have ended inside a frame.
            self._partial = expected.partial_frame(self._offset)
            self._offset -= len(self._partial)
        self._partial += data
        return self.catch_up()

    def catch_up(self) -> bytes:
        """Check frame by frame as far as is possible now; see `receive`."""
        position, replies = 0, b""
        for frame in parse_frames(self._partial):
            if frame.opcode == TEXT:
                raw = self._partial[position : frame.end]
                if not self._check_event(*self._inflate(raw, frame.payload)):
                    break
            else:
                replies += self._reply(frame.opcode, frame.payload)
            position = frame.end
        self._partial = self._partial[position:]
        return replies

    def _inflate(self, raw: bytes, payload: bytes) -> tuple[bytes, bytes]:
        if not raw[0] & _RSV1:
            return raw, payload
        if not self._deflated:
            raise Violation("a compressed frame without negotiated compression")
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        payload = inflate.decompress(payload + b"\x00\x00\xff\xff")
        return server_frame(payload), payload

    def _check_event(self, frame: bytes, payload: bytes) -> bool:
        """Check one event; False if that is not possible yet."""
        if self.close_code:
            raise Violation(f"an event after the close frame {self.close_code}")
        expected = self._expected
        if self._offset is None:
            offset = expected.find(frame, self._not_before)
            if offset is None:
                return False
            if missed := expected.first_unsent(self._not_before, offset, self._entitled):
                raise Violation(f"event {missed[1]} of producer {missed[0]} missed after the 101")
            self._offset = offset
        if self._offset == expected.end:
            expected.append(frame, payload)
        elif not expected.has_at(self._offset, frame):
            raise Violation(f"differs from what others received: {payload[:80]!r}")
        self._offset += len(frame)
        return True

    def _reply(self, opcode: int, payload: bytes) -> bytes:
        if opcode == PING:
            return client_frame(payload, PONG)
        if opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big") or 1005
            return client_frame(payload[:2], CLOSE)
        if opcode != PONG:
            raise Violation(f"a frame with opcode {opcode}")
        return b""
