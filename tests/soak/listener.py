"""A client's side of the ledger, without a socket: bytes in, answers out, violations raised.

A healthy client mostly receives what somebody else has had a moment ago: one comparison of the
chunk with the ledger, and nothing is parsed. Where that fails, frames are looked at one by one.
"""

import zlib

from bench.websocket_client import CLOSE, PING, PONG, TEXT, client_frame, parse_frames
from tests.soak.ledger import Ledger, Violation
from tests.soak.script import server_frame

__all__ = ["Listener"]

_RSV1 = 0x40


class Listener:
    """One client of one instance. Make it before its upgrade request is sent.

    Args:
        ledger: of the instance.
        first: it was there before all publishers, so its first frame is the ledger's first.
    """

    def __init__(self, ledger: Ledger, *, first: bool = False) -> None:
        self._ledger = ledger
        # What was published before is none of its business.
        self._not_before = ledger.end
        # How far it has received; None until its first frame is found in the ledger.
        self._offset: int | None = ledger.end if first else None
        # The first event of each publisher that it must get, if it gets any: see `opened`.
        self._entitled: dict[int, int] = {}
        self._deflated = False
        # The beginning of a frame; or, before its first frame is found, all that has come.
        self._partial = b""
        # From the server's close frame; 0 while there is none.
        self.close_code = 0

    @property
    def position(self) -> int:
        """From where on the ledger is still needed."""
        return self._not_before if self._offset is None else self._offset

    @property
    def behind(self) -> int:
        """How many bytes of what others have received it must still receive, at most."""
        ledger = self._ledger
        return 0 if self.has_all(ledger.end) else ledger.end - self.position

    @property
    def is_lost(self) -> bool:
        """What it has received has no place in the ledger yet."""
        return self._offset is None and bool(self._partial)

    def opened(self, *, deflated: bool = False) -> None:
        """The 101 has come: what is sent from now on must be received."""
        self._entitled = self._ledger.sent
        self._deflated = deflated

    def has_all(self, until: int) -> bool:
        """Has it received all that it must up to this offset of the ledger?"""
        if self._offset is not None:
            return self._offset >= until
        return self._ledger.owed(self._not_before, until, self._entitled) is None

    def receive(self, data: bytes | memoryview) -> bytes:
        """Take what has come; what is to be answered.

        Raises:
            Violation: it should not have come.
        """
        ledger = self._ledger
        if self._offset is not None and not self._partial:
            if ledger.has_at(self._offset, data):
                self._offset += len(data)
                return b""
            # The last chunk may have ended inside of a frame.
            self._partial = ledger.begun(self._offset)
            self._offset -= len(self._partial)
        self._partial += data
        return self.catch_up()

    def catch_up(self) -> bytes:
        """Look at frames one by one, as far as they can be judged by now; see `receive`."""
        position, answers = 0, b""
        for frame in parse_frames(self._partial):
            if frame.opcode == TEXT:
                raw = self._partial[position : frame.end]
                if not self._take(*self._plain(raw, frame.payload)):
                    break
            else:
                answers += self._control(frame.opcode, frame.payload)
            position = frame.end
        self._partial = self._partial[position:]
        return answers

    def _plain(self, raw: bytes, payload: bytes) -> tuple[bytes, bytes]:
        if not raw[0] & _RSV1:
            return raw, payload
        if not self._deflated:
            raise Violation("a compressed frame, which was not agreed upon")
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        payload = inflate.decompress(payload + b"\x00\x00\xff\xff")
        return server_frame(payload), payload

    def _take(self, frame: bytes, payload: bytes) -> bool:
        """One event; False if it cannot be judged yet."""
        if self.close_code:
            raise Violation(f"an event behind the close frame {self.close_code}")
        ledger = self._ledger
        if self._offset is None:
            place = ledger.find(frame, self._not_before)
            if place is None:
                return False
            if missed := ledger.owed(self._not_before, place, self._entitled):
                raise Violation(f"missed at its beginning: event {missed[1]} of {missed[0]}")
            self._offset = place
        if self._offset == ledger.end:
            ledger.append(frame, payload)
        elif not ledger.has_at(self._offset, frame):
            raise Violation(f"not what others have received: {payload[:80]!r}")
        self._offset += len(frame)
        return True

    def _control(self, opcode: int, payload: bytes) -> bytes:
        if opcode == PING:
            return client_frame(payload, PONG)
        if opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big") or 1005
            return client_frame(payload[:2], CLOSE)
        if opcode != PONG:
            raise Violation(f"a frame with opcode {opcode}")
        return b""
