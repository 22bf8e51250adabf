"""A real gateway behind a real socket, and a peer that sends any bytes whatever.

A `Row` says what is sent after the handshake, what must come back, and which clause wants it so.
Nothing is mocked, and no clock is read: a row ends when its answers are there, and a connection
that must go on is asked for a pong as proof.
"""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import h11
import trio
from quart_trio import QuartTrio

from ryze.access.caps import ConnectionCaps
from ryze.access.drain import Drain
from ryze.access.upgrades import Admission
from ryze.api.streamed_body import Streams
from ryze.disconnects import Disconnect
from ryze.http_head import header
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.publishing.publisher import Publisher
from ryze.server.dispatcher import Dispatcher
from ryze.server.hypercorn_connection import HttpServer
from ryze.server.trusted_proxies import TrustedProxies
from ryze.settings import Settings
from ryze.telemetry.counters import RefusalCounters
from ryze.websocket.encodings import PLAIN
from ryze.websocket.handshake import check_upgrade
from ryze.websocket.server import WebSocketLimits, WebSocketServer
from tests.clients import UPGRADE, Answer, RawClient, request_bytes
from tests.fakes import FakeTransport, ServerFrame, client_frame, make_instance, server_frames
from tests.websocket.harness import TOKEN_HASH

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "PUBLISHER",
    "SUBSCRIBER",
    "TEXT",
    "Door",
    "Row",
    "Wire",
    "close",
    "closed",
    "event",
    "open_door",
    "ping",
    "pong",
    "row_id",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# The targets of the two kinds of connection.
SUBSCRIBER, PUBLISHER = "/ws/shop", "/ws/shop/publish"

# Opcode and payload; of a close frame the code only.
Expected = tuple[int, bytes | int]

_STILL_THERE = b"still there?"


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        clause: who wants it: a section of RFC 6455 unless it says otherwise.
        what: what is sent, in words.
        sent: the same in bytes.
        answer: the frames that come back; without a close among them the connection goes on.
        events: how many events a publisher has published by it.
    """

    clause: str
    what: str
    sent: bytes
    answer: tuple[Expected, ...] = ()
    events: int | None = None


def row_id(row: Row) -> str:
    return f"{row.clause}: {row.what}"


def ping(payload: bytes = b"") -> bytes:
    return client_frame(PING, payload)


def pong(payload: bytes = b"") -> Expected:
    return PONG, payload


def close(code: int, reason: bytes = b"") -> bytes:
    return client_frame(CLOSE, struct.pack("!H", code) + reason)


def closed(code: int) -> Expected:
    return CLOSE, code


def event(size: int = 0) -> bytes:
    """The text of an event, with `size` bytes if that is more than it takes."""
    head, tail = b'{"event":"call.update","data":{"p":"', b'"}}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


class Wire:
    """The peer's end after the 101."""

    def __init__(self, client: RawClient, answer: Answer) -> None:
        self.answer = answer
        assert isinstance(client.stream, trio.SocketStream)
        self._stream = client.stream
        self._received = client.take_buffer()
        # All frames so far, in full.
        self.raw: list[ServerFrame] = []

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def frames(self, count: int) -> list[Expected]:
        """The next `count` frames; fewer if the connection ends before."""
        frames: list[Expected] = []
        while len(frames) < count:
            whole, self._received = server_frames(self._received)
            self.raw += whole
            frames += [_expected(frame.opcode, frame.payload) for frame in whole]
            if len(frames) < count and not await self._receive():
                break
        return frames

    async def check(self, row: Row) -> None:
        """Send what the row says; nothing but its answer may come back."""
        await self.send(row.sent)
        if any(opcode == CLOSE for opcode, _ in row.answer):
            assert await self.frames(len(row.answer)) == list(row.answer)
            await self.part()
        else:
            await self.send(ping(_STILL_THERE))
            assert await self.frames(len(row.answer) + 1) == [*row.answer, pong(_STILL_THERE)]

    async def part(self) -> None:
        """Answer the server's close; then its end comes, and no byte before it."""
        # It may not be interested in an answer.
        with suppress(trio.BrokenResourceError):
            await self.send(close(1000))
        assert not await self._receive()

    async def hang_up(self) -> None:
        """Send nothing more, not even a close."""
        await self._stream.send_eof()

    async def _receive(self) -> bool:
        try:
            data = bytes(await self._stream.receive_some(65536))
        except trio.BrokenResourceError:
            # Reset, as our answer came after its end; all that it said has been read.
            return False
        self._received += data
        return bool(data)


def _expected(opcode: int, payload: bytes) -> Expected:
    return (opcode, int.from_bytes(payload[:2], "big")) if opcode == CLOSE else (opcode, payload)


class Door:
    """The server's side: the one port, a gateway and a hub; everybody may connect."""

    def __init__(self, address: tuple[str, int], hub: Hub, hosts: list[str]) -> None:
        self.hub = hub
        # What those who were let in have called us.
        self.hosts = hosts
        self._address = address
        self._streams: list[trio.SocketStream] = []
        # Takes part in what publishers publish.
        self._listener = FakeTransport()

    async def open(self) -> RawClient:
        stream = await trio.open_tcp_stream(*self._address)
        self._streams.append(stream)
        return RawClient(stream)

    async def connect(self, target: str = SUBSCRIBER, extensions: str = "") -> Wire:
        client = await self.open()
        headers = {**UPGRADE, **({"Sec-WebSocket-Extensions": extensions} if extensions else {})}
        await client.send(request_bytes("GET", target, headers))
        answer = await client.answer()
        assert answer.status == 101
        return Wire(client, answer)

    def end_everything(self, why: Disconnect) -> None:
        self.hub.disconnect(make_instance().id, why)

    async def published(self) -> int:
        """How many events have been published."""
        await self.hub.wait_flushed()
        return sum(frame.opcode == TEXT for frame in server_frames(self._listener.taken)[0])

    def listen(self) -> Outbox:
        return Outbox(
            self._listener, OutboxLimits(), PLAIN, start_writer=lambda: None, on_close=lambda: None
        )

    def close(self) -> None:
        """Close the peers' ends."""
        for stream in self._streams:
            stream.socket.close()


@asynccontextmanager
async def open_door(*, compression: bool = False) -> AsyncIterator[Door]:
    """A server of its own; it must be without connections when it ends."""
    hosts: list[str] = []

    def admit(request: h11.Request, address: str) -> Admission:
        check_upgrade(request)
        hosts.append(header(request, b"host"))
        publishes = request.target.endswith(b"/publish")
        return Admission(make_instance(), TOKEN_HASH, {}, publishes)

    hub = Hub("http://ryze.test")
    gateway = WebSocketServer(
        hub, Publisher(hub), WebSocketLimits(), compression=compression, draw=lambda: 0.5
    )
    settings = Settings()
    http = HttpServer(QuartTrio(__name__), Streams(Drain()), TrustedProxies(()), settings)
    dispatcher = Dispatcher(
        http, gateway, admit, RefusalCounters(), ConnectionCaps(), settings, None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, dispatcher.serve, listeners)
        door = Door(listeners[0].socket.getsockname(), hub, hosts)
        with hub.subscribed(make_instance(), door.listen()):
            try:
                yield door
            finally:
                door.close()
        nursery.cancel_scope.cancel()
    assert gateway.connections == 0
    assert hub.outboxes() == []
