"""Stand-ins for the parts below us, true to their interfaces (gateway/test_transport.py).

`FakeTransport` takes exactly as many bytes as the test says, so that what a client gets can be
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
    "at_the_next_pause",
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
    # All of it, header included.
    raw: bytes

    @property
    def close_code(self) -> int:
        assert self.opcode == 8
        return int.from_bytes(self.payload[:2], "big")


def server_frames(wire: bytes | bytearray) -> tuple[list[ServerFrame], bytes]:
    """The whole frames at the beginning of `wire`, and what stands behind the last of them.

    Written from RFC 6455, section 5.2, without a look at the code under test.
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
    """A masked frame, also one that no decent client would send."""
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
    """A wire with a peer that takes `room` bytes, and more only when the test reads them."""

    def __init__(self, room: float = math.inf) -> None:
        self.committed = 0
        self.receive_bytes = 4096
        # How many bytes the operating system would take at this moment.
        self.room = room
        # All bytes that it took; and how many of them were reported to the sender.
        self.taken = bytearray()
        self.reported = 0
        # The end, as the server made it.
        self.eof_sent = self.closed = self.aborted = False
        self._error: OSError | None = None
        self._inbound = bytearray()
        self._inbound_ended = False
        self._changed = trio.lowlevel.ParkingLot()

    # The test's side

    def read(self, count: float = math.inf) -> None:
        """The peer reads: there is room for `count` more bytes."""
        self.room += count
        self._changed.unpark_all()

    def stop_reading(self) -> None:
        self.room = 0

    def feed(self, data: bytes) -> None:
        """The peer sends."""
        self._inbound += data
        self._changed.unpark_all()

    def feed_eof(self) -> None:
        """The peer says that it will send nothing more."""
        self._inbound_ended = True
        self._changed.unpark_all()

    def fail(self, error: OSError | None = None) -> None:
        """The peer is gone: from now on everything raises."""
        self._error = error or ConnectionResetError("the peer is gone")
        self._changed.unpark_all()

    # The server's side

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
    """The same, taking whole pieces as a TLS stream takes records.

    What it is offered first it must send; it reports nothing before all of a piece is sent.
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
        assert bytes(data[: self.committed]) == self._piece, "offered something else meanwhile"
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


class _AtTheNextPause(trio.abc.Instrument):
    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        trio.lowlevel.remove_instrument(self)
        self._act()


def at_the_next_pause(act: Callable[[], None]) -> None:
    """Do something when the running task lets go of the loop, before any other task has it.

    A task started for it would run a moment later, before or after others by chance.
    """
    trio.lowlevel.add_instrument(_AtTheNextPause(act))
