"""Fake transports, true to their interface (server/test_transports.py), and frames for them.

`FakeTransport` takes exactly as many bytes as the test says, so that what a client receives can be
computed on paper; `PieceTransport` does so the way a TLS stream does.
"""

import math
import struct
from collections.abc import Callable
from typing import NamedTuple

import trio

from ryze.records import Instance, InstanceSettings, WebsocketConfig

__all__ = [
    "EVERYTHING",
    "FakeTransport",
    "PieceTransport",
    "ServerFrame",
    "call_at_next_checkpoint",
    "client_frame",
    "make_instance",
    "server_frames",
]

# A configuration that lets every event pass unchanged.
EVERYTHING = WebsocketConfig(enabled=True, media_base64=True)


def make_instance(
    id: int = 1, config: WebsocketConfig | None = EVERYTHING, name: str = "shop"
) -> Instance:
    return Instance(
        id=id,
        account_id=1,
        name=name,
        token=f"token-{id}",
        token_hash=f"hash-{id}",
        settings=InstanceSettings(),
        websocket=config,
    )


class ServerFrame(NamedTuple):
    opcode: int
    payload: bytes
    # The whole frame, header included.
    raw: bytes

    @property
    def close_code(self) -> int:
        assert self.opcode == 8
        return int.from_bytes(self.payload[:2], "big")


def server_frames(wire: bytes | bytearray) -> tuple[list[ServerFrame], bytes]:
    """Parse the complete frames at the beginning of `wire`; the rest is returned too.

    Written from RFC 6455, section 5.2, independently of the code under test.
    """
    frames: list[ServerFrame] = []
    position = 0
    while True:
        parsed = _first_frame(bytes(wire[position:]))
        if parsed is None:
            return frames, bytes(wire[position:])
        frames.append(parsed)
        position += len(parsed.raw)


def _first_frame(wire: bytes) -> ServerFrame | None:
    if len(wire) < 2:
        return None
    first, length = wire[:2]
    assert first & 0x80, "the server never fragments"
    assert not length & 0x80, "the server never masks"
    start = 2
    if length == 126:
        start = 4
    elif length == 127:
        start = 10
    if len(wire) < start:
        return None
    if length >= 126:
        length = int.from_bytes(wire[2:start], "big")
    if len(wire) < start + length:
        return None
    return ServerFrame(first & 0x0F, wire[start : start + length], wire[: start + length])


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """A masked frame, valid or not."""
    mask = b"\x01\x02\x03\x04"
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack("!BH", 0x80 | 126, len(payload))
    else:
        head += struct.pack("!BQ", 0x80 | 127, len(payload))
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class FakeTransport:
    """A connection whose peer takes `room` bytes, and more only after `read`."""

    def __init__(self, room: float = math.inf) -> None:
        self.committed = 0
        self.receive_bytes = 4096
        # Bytes that the operating system would take now.
        self.room = room
        # All bytes taken; and the number of them reported to the sender.
        self.taken = bytearray()
        self.reported = 0
        # Set by the calls with which the server ends the connection.
        self.eof_sent = self.closed = self.aborted = False
        self._error: OSError | None = None
        self._inbound = bytearray()
        self._inbound_ended = False
        self._changed = trio.lowlevel.ParkingLot()

    # Used by the test

    def read(self, count: float = math.inf) -> None:
        """The peer reads: make room for `count` more bytes."""
        self.room += count
        self._changed.unpark_all()

    @property
    def unread_bytes(self) -> int:
        """Bytes sent by the peer that the server has not received."""
        return len(self._inbound)

    def stop_reading(self) -> None:
        self.room = 0

    def feed(self, data: bytes) -> None:
        """The peer sends bytes."""
        self._inbound += data
        self._changed.unpark_all()

    def feed_eof(self) -> None:
        """The peer closes its sending side."""
        self._inbound_ended = True
        self._changed.unpark_all()

    def fail(self, error: OSError | None = None) -> None:
        """Lose the connection: from now on every call raises."""
        self._error = error or ConnectionResetError("connection lost")
        self._changed.unpark_all()

    # Used by the server

    def send_nowait(self, data: bytes | memoryview) -> int:
        self._check()
        taken = self._take(data)
        self.reported += taken
        return taken

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.room <= 0 and self._error is None:
            await self._changed.park()
        self._check()

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self._inbound or self._inbound_ended or self._error):
            await self._changed.park()
        self._check()
        data = bytes(self._inbound[: self.receive_bytes])
        del self._inbound[: self.receive_bytes]
        return data

    def send_eof(self) -> None:
        self._check()
        self.eof_sent = True

    def close(self) -> None:
        self.closed = True
        self._error = self._error or OSError(9, "closed")

    def abort(self) -> None:
        if not self.closed:
            self.aborted = True
        self.close()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _take(self, data: bytes | memoryview) -> int:
        count = int(min(self.room, len(data)))
        self.room -= count
        self.taken += data[:count]
        return count


class PieceTransport(FakeTransport):
    """Takes bytes in whole pieces, as a TLS stream takes records.

    Once it has a piece it must send all of it; it reports nothing before the piece is sent.
    """

    def __init__(self, room: float = math.inf, *, piece_bytes: int = 16384) -> None:
        super().__init__(room)
        self._piece_bytes = piece_bytes
        self._piece = b""
        self._unsent = b""

    def send_nowait(self, data: bytes | memoryview) -> int:
        self._check()
        if not self._piece:
            self._piece = self._unsent = bytes(data[: self._piece_bytes])
            self.committed = len(self._piece)
            return 0
        assert bytes(data[: self.committed]) == self._piece, "a different piece was offered"
        if self._unsent:
            return 0
        taken, self.committed, self._piece = self.committed, 0, b""
        self.reported += taken
        return taken

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._unsent:
            await super().wait_writable()
            self._unsent = self._unsent[self._take(self._unsent) :]


class _CallAtNextCheckpoint(trio.abc.Instrument):
    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        trio.lowlevel.remove_instrument(self)
        self._function()


def call_at_next_checkpoint(function: Callable[[], None]) -> None:
    """Call `function` when the running task next yields, before any other task runs.

    A task started for it would run later, before or after others by chance.
    """
    trio.lowlevel.add_instrument(_CallAtNextCheckpoint(function))
