"""A real server behind a real socket, and a peer that can send any bytes.

A `Row` has the bytes sent after the handshake, the frames that must come back, and the clause that
requires them. Nothing is mocked, and no clock is read: a row ends when its frames have come, and a
connection that must stay open is checked with a ping.
"""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import h11
import trio
from quart_trio import QuartTrio

from ryze.access.caps import ConnectionCaps
from ryze.access.upgrades import Admission
from ryze.disconnects import Disconnect
from ryze.http_head import header
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.publishing.publisher import Publisher
from ryze.server.dispatcher import Dispatcher
from ryze.server.hypercorn_connection import HttpContext
from ryze.server.trusted_proxies import TrustedProxies
from ryze.settings import Settings
from ryze.telemetry.counters import RefusalCounters
from ryze.websocket.handshake import check_upgrade
from ryze.websocket.server import WebSocketLimits, WebSocketServer
from ryze.websocket.views import PLAIN
from tests.clients import UPGRADE, RawClient, Response, request_bytes
from tests.fakes import FakeTransport, ServerFrame, client_frame, make_instance, server_frames
from tests.websocket.harness import TOKEN_HASH

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "PRODUCER",
    "SUBSCRIBER",
    "TEXT",
    "ConformanceServer",
    "Peer",
    "Row",
    "close",
    "closed",
    "event",
    "ping",
    "pong",
    "row_id",
    "running_server",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# Request targets of the two kinds of connection.
SUBSCRIBER, PRODUCER = "/ws/shop", "/ws/shop/publish"

# Opcode and payload; for a close frame opcode and code.
Expected = tuple[int, bytes | int]

_PING_PAYLOAD = b"still there?"


@dataclass(frozen=True)
class Row:
    """One row of a table of cases.

    Args:
        clause: section of RFC 6455, unless it names another source.
        case: what is sent, in words.
        sent: what is sent, in bytes.
        expected: the frames that must come back; without a close the connection stays open.
        events: how many events a producer publishes with it.
    """

    clause: str
    case: str
    sent: bytes
    expected: tuple[Expected, ...] = ()
    events: int | None = None


def row_id(row: Row) -> str:
    return f"{row.clause}: {row.case}"


def ping(payload: bytes = b"") -> bytes:
    return client_frame(PING, payload)


def pong(payload: bytes = b"") -> Expected:
    return PONG, payload


def close(code: int, reason: bytes = b"") -> bytes:
    return client_frame(CLOSE, struct.pack("!H", code) + reason)


def closed(code: int) -> Expected:
    return CLOSE, code


def event(size: int = 0) -> bytes:
    """An event as JSON, padded to `size` bytes."""
    head, tail = b'{"event":"call.update","data":{"p":"', b'"}}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


class Peer:
    """The client's end of a connection after the 101."""

    def __init__(self, client: RawClient, response: Response) -> None:
        self.response = response
        assert isinstance(client.stream, trio.SocketStream)
        self._stream = client.stream
        self._received = client.take_buffer()
        # All frames received so far, headers included.
        self.raw: list[ServerFrame] = []

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def frames(self, count: int) -> list[Expected]:
        """The next `count` frames; fewer if the connection ends first."""
        frames: list[Expected] = []
        while len(frames) < count:
            whole, self._received = server_frames(self._received)
            self.raw += whole
            frames += [_expected(frame.opcode, frame.payload) for frame in whole]
            if len(frames) < count and not await self._receive():
                break
        return frames

    async def check(self, row: Row) -> None:
        """Send the bytes of the row; only the expected frames may come back."""
        await self.send(row.sent)
        if any(opcode == CLOSE for opcode, _ in row.expected):
            assert await self.frames(len(row.expected)) == list(row.expected)
            await self.finish_closing()
        else:
            await self.send(ping(_PING_PAYLOAD))
            assert await self.frames(len(row.expected) + 1) == [*row.expected, pong(_PING_PAYLOAD)]

    async def finish_closing(self) -> None:
        """Reply to the server's close frame; the connection must end without another byte."""
        # After a protocol error the server may close without waiting for the reply.
        with suppress(trio.BrokenResourceError):
            await self.send(close(1000))
        assert not await self._receive()

    async def send_eof(self) -> None:
        """Close the sending side without a close frame."""
        await self._stream.send_eof()

    async def _receive(self) -> bool:
        try:
            data = bytes(await self._stream.receive_some(65536))
        except trio.BrokenResourceError:
            # Reset because our reply came after the end; everything sent before has been read.
            return False
        self._received += data
        return bool(data)


def _expected(opcode: int, payload: bytes) -> Expected:
    return (opcode, int.from_bytes(payload[:2], "big")) if opcode == CLOSE else (opcode, payload)


class ConformanceServer:
    """A dispatcher, a WebSocket server and a hub that admit every valid upgrade."""

    def __init__(self, address: tuple[str, int], hub: Hub, hosts: list[str]) -> None:
        self.hub = hub
        # The Host of each admitted upgrade request.
        self.hosts = hosts
        self._address = address
        self._streams: list[trio.SocketStream] = []
        # Receives the events of producers.
        self._subscriber = FakeTransport()

    async def open(self) -> RawClient:
        stream = await trio.open_tcp_stream(*self._address)
        self._streams.append(stream)
        return RawClient(stream)

    async def connect(self, target: str = SUBSCRIBER, extensions: str = "") -> Peer:
        client = await self.open()
        headers = {**UPGRADE, **({"Sec-WebSocket-Extensions": extensions} if extensions else {})}
        await client.send(request_bytes("GET", target, headers))
        response = await client.read_response()
        assert response.status == 101
        return Peer(client, response)

    def disconnect_all(self, disconnect: Disconnect) -> None:
        self.hub.disconnect(make_instance().id, disconnect)

    async def published(self) -> int:
        """The number of events published so far."""
        await self.hub.wait_flushed()
        return sum(frame.opcode == TEXT for frame in server_frames(self._subscriber.taken)[0])

    def subscriber_outbox(self) -> Outbox:
        return Outbox(
            self._subscriber,
            OutboxLimits(),
            PLAIN,
            start_writer=lambda: None,
            on_close=lambda: None,
        )

    def close(self) -> None:
        """Close the clients' ends of all connections."""
        for stream in self._streams:
            stream.socket.close()


@asynccontextmanager
async def running_server(*, compression: bool = False) -> AsyncIterator[ConformanceServer]:
    """Start a server; no connection may be left when the block ends."""
    hosts: list[str] = []

    def admit(request: h11.Request, address: str) -> Admission:
        check_upgrade(request)
        hosts.append(header(request, b"host"))
        publishes = request.target.endswith(b"/publish")
        return Admission(make_instance(), TOKEN_HASH, {}, publishes)

    hub = Hub("http://ryze.test")
    websockets = WebSocketServer(
        hub, Publisher(hub), WebSocketLimits(), compression=compression, draw=lambda: 0.5
    )
    settings = Settings()
    http = HttpContext(QuartTrio(__name__), TrustedProxies(()), settings, end_streams=lambda: None)
    dispatcher = Dispatcher(
        http, websockets, admit, RefusalCounters(), ConnectionCaps(), settings, None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, dispatcher.serve, listeners)
        server = ConformanceServer(listeners[0].socket.getsockname(), hub, hosts)
        with hub.subscribed(make_instance(), server.subscriber_outbox()):
            try:
                yield server
            finally:
                server.close()
        nursery.cancel_scope.cancel()
    assert websockets.connections == 0
    assert hub.outboxes() == []
