"""Dispatch of new connections: ``GET /ws/`` to the WebSocket server, everything else to HTTP.

    accepted --> (TLS) --> first bytes --+-- "GET /ws/" --> request head --> admission
                                         |                                     ^   |
                                         +-- else --> HTTP connection ---------+   |
                                                      (until it asks               v
                                                       for a WebSocket)   101 or refusal

A WebSocket on a fresh connection, as nearly every one is, bypasses the HTTP server, which would
cost as much again as the whole handshake.

File descriptors are for WebSockets: HTTP connections have a cap of their own (`http_connections`),
and connections that have not sent a request yet have a deadline. While descriptors run short
(`acceptor`), those older than a second are evicted.
"""

import itertools
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import h11
import structlog
import trio

from ryze.access.caps import ConnectionCaps
from ryze.access.upgrades import Admission
from ryze.errors import INTERNAL_SERVER_ERROR, REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS, ApiError
from ryze.http_head import WEBSOCKET_PATH, RequestParser, header
from ryze.hub.transport import Transport
from ryze.server.http_connections import HttpConnections
from ryze.server.hypercorn_connection import HttpConnection, HttpContext
from ryze.server.hypercorn_protocol import Upgrade
from ryze.server.refusal import send_refusal
from ryze.server.tls import Stream, start_tls
from ryze.server.transports import SocketTransport, StreamTransport
from ryze.settings import Settings
from ryze.telemetry.counters import RefusalCounters
from ryze.websocket.server import Session, WebSocketServer

__all__ = ["Admit", "Dispatcher"]

_UPGRADE_PREFIX = b"GET " + WEBSOCKET_PATH
_RECEIVE_BYTES = 16384

# Connections without a request after this long may be evicted: over any network, a client that
# has something to ask has asked it. So many per attempt to make room.
_EVICTABLE_AFTER_SECONDS = 1
_EVICTED_AT_A_TIME = 256

# Decides on an upgrade request from a client address; raises ApiError to refuse it.
# See `ryze.access.upgrades.UpgradeAdmission.admit`.
Admit = Callable[[h11.Request, str], Admission]

_Log = structlog.typing.FilteringBoundLogger

_log: _Log = structlog.get_logger("ryze.http")


class _FirstRequest(NamedTuple):
    stream: Stream
    # The bytes that were received from it.
    data: bytes
    # None: not a request for a WebSocket; the HTTP server parses it.
    upgrade: Upgrade | None


class Dispatcher:
    """Serves accepted connections.

    Args:
        http: serves HTTP requests.
        websockets: serves WebSockets.
        admit: decides on upgrade requests.
        refusals: counts what is refused here.
        caps: of HTTP connections.
        settings: for the other limits.
        tls: None: the port speaks plain HTTP.
    """

    def __init__(
        self,
        http: HttpContext,
        websockets: WebSocketServer,
        admit: Admit,
        refusals: RefusalCounters,
        caps: ConnectionCaps,
        settings: Settings,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._http = http
        self._websockets = websockets
        self._admit = admit
        self._refusals = refusals
        self._head_seconds = settings.handshake_timeout_seconds
        self._refusal_seconds = settings.close_grace_seconds
        self._max_header_bytes = settings.max_header_bytes
        self._tls = tls
        self._proxies = http.proxies
        # Numbers of upgrade requests and the WebSockets they become, for the log.
        self._websocket_ids = itertools.count(1)
        # Connections that have not sent a request yet, with the time of arrival; oldest first.
        self._awaiting_request: dict[trio.CancelScope, float] = {}
        self.http_connections = HttpConnections(http, caps)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it ends; the caller closes the stream.

        Cancelling it ends the connection.
        """
        try:
            session = await self._serve_until_upgrade(stream)
            if session is not None:
                await self._websockets.serve_connection(session)
        except* (OSError, trio.BrokenResourceError):
            # The connection was lost before a response.
            pass
        except* Exception:
            # The one place for a bug in a connection that is no WebSocket (yet).
            _log.exception("connection failed")

    def make_room(self) -> None:
        """Evict connections whose loss costs their peers least: file descriptors run short.

        These are connections without a request for a while, and idle HTTP connections.
        """
        long_ago = trio.current_time() - _EVICTABLE_AFTER_SECONDS
        oldest = itertools.islice(self._awaiting_request.items(), _EVICTED_AT_A_TIME)
        for scope, since in oldest:
            if since <= long_ago:
                scope.cancel()
        self.http_connections.abort_idle()

    async def _serve_until_upgrade(self, socket_stream: trio.SocketStream) -> Session | None:
        """Serve a connection as long as it is HTTP; return the session of its WebSocket, if any.

        No local variable of this function outlives it: a request that stood in a frame of the
        task would stay in memory as long as its WebSocket.
        """
        peer: str = socket_stream.socket.getpeername()[0]
        deadline = trio.current_time() + self._head_seconds
        first = None
        with self._evictable():
            first = await self._receive_first_request(socket_stream, deadline, peer)
        if first is None:
            return None
        upgrade = first.upgrade or await self._serve_http(first, deadline, peer)
        if upgrade is None:
            return None
        return await self._accept_or_refuse(first.stream, upgrade, peer)

    @contextmanager
    def _evictable(self) -> Iterator[None]:
        """Let `make_room` cancel the block."""
        with trio.CancelScope() as scope:
            self._awaiting_request[scope] = trio.current_time()
            try:
                yield
            finally:
                del self._awaiting_request[scope]

    async def _receive_first_request(
        self, socket_stream: trio.SocketStream, deadline: float, peer: str
    ) -> _FirstRequest | None:
        """Receive enough to tell HTTP from WebSocket; None if the connection is over."""
        stream: Stream | None = socket_stream
        if self._tls is not None:
            stream = await start_tls(socket_stream, self._tls, deadline, peer)
        if stream is None:
            return None
        data = await _first_bytes(stream, deadline)
        if not data.startswith(_UPGRADE_PREFIX):
            return _FirstRequest(stream, data, None)
        upgrade = await self._receive_upgrade(stream, data, deadline, peer)
        return upgrade and _FirstRequest(stream, data, upgrade)

    async def _receive_upgrade(
        self, stream: Stream, data: bytes, deadline: float, peer: str
    ) -> Upgrade | None:
        """Receive a request head for a WebSocket; None if it was refused or is incomplete."""
        parser = RequestParser(self._max_header_bytes)
        try:
            while (request := parser.receive_data(data)) is None:
                with trio.fail_at(deadline):
                    data = bytes(await stream.receive_some(_RECEIVE_BYTES))
                if not data:
                    return None
            return Upgrade(request, parser.trailing)
        except trio.BrokenResourceError:
            return None
        except trio.TooSlowError:
            refusal = ApiError(REQUEST_TIMEOUT)
        except ApiError as error:
            refusal = error
        log = self._websocket_log(self._next_websocket_id(), self._proxies.client(peer, ""))
        await self._refuse_upgrade(_transport(stream), refusal, log)
        return None

    async def _serve_http(self, first: _FirstRequest, deadline: float, peer: str) -> Upgrade | None:
        if not self.http_connections.make_room():
            address = self._proxies.client(peer, "")
            await self._refuse_http(_transport(first.stream), address)
            return None
        connection = HttpConnection(self._http, first.stream, first.data, deadline)
        return await self.http_connections.serve(connection)

    async def _accept_or_refuse(
        self, stream: Stream, upgrade: Upgrade, peer: str
    ) -> Session | None:
        """Decide on an upgrade request; no checkpoint if it is accepted, see `Admit`."""
        transport = _transport(stream)
        request = upgrade.request
        address = self._proxies.client(peer, header(request, b"x-forwarded-for"))
        connection_id = self._next_websocket_id()
        try:
            return self._websockets.accept(
                transport,
                request,
                upgrade.trailing,
                self._admit(request, address),
                connection_id=connection_id,
                address=address,
            )
        except ApiError as error:
            refusal = error
        except Exception:
            # The one place for a bug in the admission.
            self._websocket_log(connection_id, address).exception("request failed")
            refusal = ApiError(INTERNAL_SERVER_ERROR)
        await self._refuse_upgrade(transport, refusal, self._websocket_log(connection_id, address))
        return None

    async def _refuse_upgrade(self, transport: Transport, refusal: ApiError, log: _Log) -> None:
        self._refusals.upgrades[refusal.status, refusal.reason] += 1
        log.info("refused", status=refusal.status, reason=refusal.reason)
        await send_refusal(transport, refusal, self._refusal_seconds)

    async def _refuse_http(self, transport: Transport, address: str) -> None:
        refusal = ApiError(TOO_MANY_CONNECTIONS)
        self._refusals.http_connections[refusal.reason] += 1
        _log.info("refused", client=address, status=refusal.status, reason=refusal.reason)
        await send_refusal(transport, refusal, self._refusal_seconds)

    def _next_websocket_id(self) -> str:
        return f"ws-{next(self._websocket_ids)}"

    def _websocket_log(self, connection_id: str, address: str) -> _Log:
        return _log.bind(connection=connection_id, client=address)


async def _first_bytes(stream: Stream, deadline: float) -> bytes:
    """Receive enough to recognize an upgrade request; less at the peer's end or the deadline."""
    first = b""
    while len(first) < len(_UPGRADE_PREFIX) and _UPGRADE_PREFIX.startswith(first):
        with trio.move_on_at(deadline):
            data = b""
            data = bytes(await stream.receive_some(_RECEIVE_BYTES))
        if not data:
            break
        first += data
    return first


def _transport(stream: Stream) -> Transport:
    """Wrap a stream for the WebSocket server; a plain socket is taken out of its stream."""
    return (
        SocketTransport(stream)
        if isinstance(stream, trio.SocketStream)
        else StreamTransport(stream)
    )
