"""A wsproto client on a fake transport, and a WebSocket server to connect it to."""

from collections.abc import Sequence

import h11
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.events import Event as FrameEvent
from wsproto.extensions import Extension

from ryze.access.upgrades import Admission
from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.publishing.publisher import Publisher
from ryze.records import Instance
from ryze.websocket.connection import ConnectionLimits
from ryze.websocket.server import WebSocketLimits, WebSocketServer
from ryze.websocket.subscriber import Subscriber
from tests.fakes import FakeTransport, make_instance

__all__ = [
    "EVENT",
    "RESPONSE_HEAD",
    "TOKEN_HASH",
    "WEBSOCKET_KEY",
    "Peer",
    "admit",
    "open_connection",
    "open_server",
    "serve_upgrade",
    "upgrade",
]

EVENT = Event("call.update", b'{"id":1}')

# Hash of the token that opens every connection.
TOKEN_HASH = "hash-of-the-token"

# The Sec-WebSocket-Key of RFC 6455, section 1.3.
WEBSOCKET_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="

# Sent before the first frame.
RESPONSE_HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def upgrade(**headers: str) -> h11.Request:
    """A well-formed upgrade request; `headers` replace its own, empty ones remove them."""
    all_headers = {
        "host": "ryze.test",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": WEBSOCKET_KEY.decode(),
    }
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return h11.Request(
        method="GET", target="/ws/shop", headers=[(k, v) for k, v in all_headers.items() if v]
    )


class Peer:
    """The client's end of a connection."""

    def __init__(
        self, transport: FakeTransport, extensions: Sequence[Extension] | None = None
    ) -> None:
        self.transport = transport
        self.ended = trio.Event()
        self._protocol = Protocol(ConnectionType.CLIENT, list(extensions or []))
        self._seen = 0

    @property
    def head(self) -> bytes:
        return bytes(self.transport.taken).partition(b"\r\n\r\n")[0]

    @property
    def received(self) -> bytes:
        """All bytes received after the response head."""
        return bytes(self.transport.taken).partition(b"\r\n\r\n")[2]

    def receive(self) -> list[FrameEvent]:
        """Events received since the last call."""
        data = self.received[self._seen :]
        self._seen += len(data)
        if not data:
            return []
        self._protocol.receive_data(data)
        return list(self._protocol.events())

    def send(self, event: FrameEvent) -> None:
        self.transport.feed(self._protocol.send(event))

    async def settled(self) -> list[FrameEvent]:
        """Wait until all tasks are blocked; events received since the last call."""
        await wait_all_tasks_blocked()
        return self.receive()

    async def answer_pings(self, every_seconds: float = 0.25) -> None:
        while True:
            for event in self.receive():
                if isinstance(event, Ping):
                    self.send(event.response())
            await trio.sleep(every_seconds)

    async def texts(self) -> list[str]:
        return [event.data for event in await self.settled() if isinstance(event, TextMessage)]

    async def close_code(self) -> int:
        """The code of the close frame that has arrived once all tasks are blocked."""
        (event,) = [e for e in await self.settled() if isinstance(e, CloseConnection)]
        return event.code


async def open_connection(
    nursery: trio.Nursery,
    hub: Hub,
    limits: ConnectionLimits | None = None,
    *,
    transport: FakeTransport | None = None,
    draw: float = 0.5,
    trailing: bytes = b"",
    instance: Instance | None = None,
) -> tuple[Subscriber, Peer]:
    """Serve a subscriber in `nursery`."""
    peer = Peer(transport or FakeTransport())
    connection = Subscriber(
        peer.transport, limits or ConnectionLimits(), compression=False, draw=lambda: draw
    )

    async def serve() -> None:
        try:
            await connection.run(hub, instance or make_instance(), RESPONSE_HEAD, trailing)
        finally:
            connection.close()
            peer.ended.set()

    nursery.start_soon(serve)
    await wait_all_tasks_blocked()
    return connection, peer


def open_server(
    hub: Hub, limits: WebSocketLimits | None = None, *, compression: bool = False
) -> WebSocketServer:
    """Return a server whose first pings come after half of the interval."""
    return WebSocketServer(
        hub,
        Publisher(hub),
        limits or WebSocketLimits(),
        compression=compression,
        draw=lambda: 0.5,
    )


def admit(request: h11.Request, address: str) -> Admission:
    """Admit every request to the instance with id 1."""
    is_producer = request.target.endswith(b"/publish")
    return Admission(make_instance(), TOKEN_HASH, {"X-Seen": address}, is_producer)


async def serve_upgrade(
    server: WebSocketServer,
    transport: FakeTransport,
    request: h11.Request | None = None,
    address: str = "192.0.2.1",
) -> None:
    """Accept an upgrade request, and serve its connection."""
    request = request or upgrade()
    session = server.accept(
        transport, request, b"", admit(request, address), connection_id="ws-1", address=address
    )
    await server.serve_connection(session)
