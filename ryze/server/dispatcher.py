"""The one port: what begins with ``GET /ws/`` goes to the websockets, the rest is HTTP.

    accepted --> (TLS) --> first bytes --+-- "GET /ws/" --> request head --> gateway
                                         |                                     ^
                                         +-- else --> HTTP connection ---------+
                                                      (until it asks for a WebSocket)

A WebSocket on a fresh connection, which is nearly every one, thus never meets the HTTP server:
that would cost as much again as the whole handshake.

Descriptors are for WebSockets. HTTP connections have a cap of their own, and where they reach it
the one that has been idle longest makes way. Who has not even said what it wants has some seconds
for that; when descriptors run out (`accepting`), those who have had one second are closed first.
"""

import itertools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from math import inf
from typing import NamedTuple

import structlog
import trio
from structlog.contextvars import bound_contextvars

from ryze.errors import REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS, ApiError
from ryze.hub.transport import Transport
from ryze.server.hypercorn_connection import HttpConnection, HttpServer, Stream, Upgrade
from ryze.server.transport import SocketTransport, StreamTransport
from ryze.server.trusted_proxies import TrustedProxies
from ryze.settings import Settings
from ryze.websocket.handshake import WEBSOCKET_PATH, RequestParser, header
from ryze.websocket.server import Session, WebSocketServer

__all__ = ["Dispatcher"]

_UPGRADE_PREFIX = b"GET " + WEBSOCKET_PATH
_RECEIVE_BYTES = 16384

# Whoever means it has sent a request after this, over any network; and so many of the others are
# closed at a time, that is between two looks for room.
_HESITATION_SECONDS = 1
_CLOSED_AT_A_TIME = 256

_log = structlog.get_logger("ryze.http")


class _Opening(NamedTuple):
    stream: Stream
    # What was read from it.
    first: bytes
    # What it asks for; None: it is for the HTTP server to see.
    upgrade: Upgrade | None


class Dispatcher:
    """Takes connections and hands each to those who can serve it.

    Args:
        http: answers requests.
        websockets: serves WebSockets.
        settings: for the limits.
        tls: what to speak TLS with, if at all.
    """

    def __init__(
        self,
        http: HttpServer,
        websockets: WebSocketServer,
        settings: Settings,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._http = http
        self._websockets = websockets
        self._head_seconds = settings.handshake_timeout_seconds
        self._max_header_bytes = settings.max_header_bytes
        self._max_http_connections = settings.max_http_connections
        self._tls = tls
        self._proxies = TrustedProxies(settings.trusted_proxies)
        # Numbers of HTTP connections, for the log.
        self._ids = itertools.count(1)
        # Where those wait who have not made a request yet, and since when; oldest first.
        self._hesitating: dict[trio.CancelScope, float] = {}
        # The connections that are HTTP at the moment; _answer() changes it.
        self._answering: set[HttpConnection] = set()
        # Where drain() waits for them to end.
        self._departures = trio.lowlevel.ParkingLot()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end; the caller closes the stream.

        Cancelling it ends the connection.
        """
        try:
            session = await self._receive(stream)
            if session is not None:
                await self._websockets.serve_connection(session)
        except* (OSError, trio.BrokenResourceError):
            # The peer was gone before it had an answer.
            pass
        except* Exception:
            # The one place for a connection that is no WebSocket (yet).
            _log.exception("connection failed")

    async def drain(self) -> None:
        """Close idle HTTP connections, and wait until the others have their answers."""
        await self._http.terminate()
        for connection in self._answering:
            connection.finish_if_idle()
        while self._answering:
            await self._departures.park()

    def abort(self) -> None:
        """Close the HTTP connections that are still there."""
        for connection in self._answering:
            connection.abort()

    def make_room(self) -> None:
        """There are no descriptors left: close whom that harms least.

        That is who has been connected for a while without a request, and idle HTTP connections.
        """
        long_ago = trio.current_time() - _HESITATION_SECONDS
        for patience, since in islice(self._hesitating.items(), _CLOSED_AT_A_TIME):
            if since <= long_ago:
                patience.cancel()
        for connection in self._answering:
            if connection.idle_since < inf:
                connection.abort()

    async def _receive(self, socket_stream: trio.SocketStream) -> Session | None:
        """Serve the connection as long as it is HTTP; then the session that it becomes, if any."""
        peer: str = socket_stream.socket.getpeername()[0]
        deadline = trio.current_time() + self._head_seconds
        opening = None
        with self._patience():
            opening = await self._open(socket_stream, deadline, peer)
        if opening is None:
            return None
        stream, first, upgrade = opening
        if upgrade is None:
            connection = HttpConnection(self._http, stream, first, deadline)
            upgrade = await self._answer(connection, peer)
        if upgrade is None:
            return None
        transport = _transport(stream)
        forwarded_for = header(upgrade.request, b"x-forwarded-for")
        address = self._proxies.client(peer, forwarded_for)
        return await self._websockets.receive(transport, upgrade.request, upgrade.trailing, address)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """While the peer has not made a request: `make_room` may end what is inside."""
        with trio.CancelScope() as scope:
            self._hesitating[scope] = trio.current_time()
            try:
                yield
            finally:
                del self._hesitating[scope]

    async def _open(
        self, socket_stream: trio.SocketStream, deadline: float, peer: str
    ) -> _Opening | None:
        """What the peer wants; None if it does not say so, or asks for a WebSocket in vain."""
        stream = await self._secured(socket_stream, deadline, peer)
        if stream is None:
            return None
        first = await _first_bytes(stream, deadline)
        if not first.startswith(_UPGRADE_PREFIX):
            return _Opening(stream, first, None)
        upgrade = await self._read_upgrade(stream, first, deadline, peer)
        return upgrade and _Opening(stream, first, upgrade)

    async def _secured(
        self, stream: trio.SocketStream, deadline: float, peer: str
    ) -> Stream | None:
        """The stream to speak HTTP on; None if no TLS comes about."""
        if self._tls is None:
            return stream
        secured = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        try:
            with trio.fail_at(deadline):
                await secured.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            _log.debug("no TLS", client=peer, reason=str(error.__cause__ or "timeout"))
            return None
        return secured

    async def _answer(self, connection: HttpConnection, peer: str) -> Upgrade | None:
        if self._is_full() and not self._end_idlest():
            refusal = ApiError(TOO_MANY_CONNECTIONS)
            await self._refuse(connection.stream, refusal, peer)
            return None
        self._answering.add(connection)
        try:
            with bound_contextvars(connection=f"http-{next(self._ids)}"):
                upgrade = await connection.run()
                if upgrade is not None:
                    _log.debug("becomes a WebSocket")
                return upgrade
        finally:
            self._answering.discard(connection)
            self._departures.unpark_all()

    def _is_full(self) -> bool:
        return 0 < self._max_http_connections <= len(self._answering)

    def _end_idlest(self) -> bool:
        """Close the HTTP connection that has been idle longest; False if none is idle."""
        idlest = min(self._answering, key=lambda connection: connection.idle_since)
        is_idle = idlest.idle_since < inf
        if is_idle:
            idlest.abort()
        return is_idle

    async def _read_upgrade(
        self, stream: Stream, data: bytes, deadline: float, peer: str
    ) -> Upgrade | None:
        """The whole request for a WebSocket; None if there is none, which has been answered."""
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
        await self._refuse(stream, refusal, peer)
        return None

    async def _refuse(self, stream: Stream, refusal: ApiError, peer: str) -> None:
        await self._websockets.refuse(_transport(stream), refusal, self._proxies.client(peer, ""))


async def _first_bytes(stream: Stream, deadline: float) -> bytes:
    """As many bytes as it takes to tell what the peer wants; fewer at its end or the deadline."""
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
    """What the websockets writes to; it takes a plain socket out of its stream."""
    return (
        SocketTransport(stream)
        if isinstance(stream, trio.SocketStream)
        else StreamTransport(stream)
    )
