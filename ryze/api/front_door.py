"""The one port: what begins with ``GET /ws/`` goes to the gateway, the rest is HTTP.

    accepted --> (TLS) --> first bytes --+-- "GET /ws/" --> request head --> gateway
                                         |                                     ^
                                         +-- else --> HTTP connection ---------+
                                                      (until it asks for a WebSocket)

A WebSocket on a fresh connection, which is nearly every one, thus never meets the HTTP server:
that would cost as much again as the whole handshake.
"""

import ssl

import structlog
import trio

from ryze.api.http_connection import HttpConnection, HttpServer, Stream, Upgrade
from ryze.errors import ApiError
from ryze.gateway import Gateway, Session
from ryze.gateway.handshake import RequestParser
from ryze.gateway.transport import SocketTransport, StreamTransport, Transport
from ryze.settings import Settings

__all__ = ["FrontDoor"]

_UPGRADE_PREFIX = b"GET /ws/"
_RECEIVE_BYTES = 16384

_log = structlog.get_logger("ryze.http")


class FrontDoor:
    """Takes connections and hands each to those who can serve it.

    Args:
        http: answers requests.
        gateway: serves WebSockets.
        settings: for the limits.
        tls: what to speak TLS with, if at all.
    """

    def __init__(
        self, http: HttpServer, gateway: Gateway, settings: Settings, tls: ssl.SSLContext | None
    ) -> None:
        self._http = http
        self._gateway = gateway
        self._head_seconds = settings.handshake_timeout_seconds
        self._max_header_bytes = settings.max_header_bytes
        self._tls = tls
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
                await self._gateway.live(session)
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

    async def _receive(self, socket_stream: trio.SocketStream) -> Session | None:
        """Serve the connection as long as it is HTTP; then the session that it becomes, if any."""
        address = socket_stream.socket.getpeername()[0]
        deadline = trio.current_time() + self._head_seconds
        stream = await self._secured(socket_stream, deadline)
        if stream is None:
            return None
        first = await _first_bytes(stream, deadline)
        if first.startswith(_UPGRADE_PREFIX):
            upgrade = await self._read_upgrade(stream, first, deadline)
        else:
            upgrade = await self._answer(HttpConnection(self._http, stream, first, deadline))
        if upgrade is None:
            return None
        transport = _transport(stream)
        return await self._gateway.receive(transport, upgrade.request, upgrade.trailing, address)

    async def _secured(self, stream: trio.SocketStream, deadline: float) -> Stream | None:
        """The stream to speak HTTP on; None if no TLS comes about."""
        if self._tls is None:
            return stream
        secured = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        try:
            with trio.fail_at(deadline):
                await secured.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError):
            return None
        return secured

    async def _answer(self, connection: HttpConnection) -> Upgrade | None:
        self._answering.add(connection)
        try:
            return await connection.run()
        finally:
            self._answering.discard(connection)
            self._departures.unpark_all()

    async def _read_upgrade(self, stream: Stream, data: bytes, deadline: float) -> Upgrade | None:
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
            refusal = ApiError(408, "Request timeout")
        except ApiError as error:
            refusal = error
        await self._gateway.refuse(_transport(stream), refusal)
        return None


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
    """What the gateway writes to; it takes a plain socket out of its stream."""
    return (
        SocketTransport(stream)
        if isinstance(stream, trio.SocketStream)
        else StreamTransport(stream)
    )
