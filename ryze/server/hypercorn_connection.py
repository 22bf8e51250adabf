"""One HTTP connection, on Hypercorn's protocol.

This module alone uses Hypercorn's internals (pinned to their minor version). It takes over
`TCPServer` with three changes:

- A ``GET /ws/...`` is not answered here: the connection ends with `upgrade` set, and the caller
  hands the stream to the websockets. The request is taken from the HTTP parser, so it works at any
  place where a request can stand (first, kept alive, pipelined), and never inside a body.
- No send waits for ever: Hypercorn shields its sends without a deadline, and a peer that does
  not read could hold up a shutdown.
- HTTP/2 is not offered (no ALPN, no h2c, no prior knowledge): browsers would tunnel WebSockets
  through it.
"""

import logging
import sys
from contextlib import suppress
from http import HTTPStatus
from math import inf
from typing import Any, NamedTuple, cast

import h11
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr
from quart_trio import QuartTrio

from ryze.api.streamed_body import Streams
from ryze.errors import ErrorKind, error_body
from ryze.server.trusted_proxies import TrustedProxies
from ryze.settings import Settings
from ryze.websocket.handshake import header, in_origin_form, is_websocket_target

__all__ = ["HttpConnection", "HttpServer", "Stream", "Upgrade"]

# What a connection comes in on: plain, or with TLS.
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_RECEIVE_BYTES = 65536

# How long a connection outlives one of its ends. An answer that came before the end of the
# request's body is lost if we close with bytes unread, as that resets the connection: so those
# are read for so long. A peer that has closed its end may still wait for its answer so long.
_LINGER_SECONDS = 2

_log = structlog.get_logger("ryze.http")

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)


class Upgrade(NamedTuple):
    """The peer asks for a WebSocket.

    Args:
        request: the complete request head.
        trailing: what the peer has sent behind it.
    """

    request: h11.Request
    trailing: bytes


class _UpgradeRequested(Exception):
    def __init__(self, upgrade: Upgrade) -> None:
        super().__init__(upgrade)
        self.upgrade = upgrade


class HttpServer:
    """What all HTTP connections of a server share.

    Args:
        app: answers the requests.
        streams: those of them that do not end by themselves.
        settings: for the limits.
    """

    def __init__(self, app: QuartTrio, streams: Streams, settings: Settings) -> None:
        self._streams = streams
        self.app = ASGIWrapper(app)
        self.context = WorkerContext(None)
        self.config = Config()
        self.config.accesslog = None
        self.config.errorlog = logging.getLogger("ryze.http")
        self.config.include_server_header = False
        self.config.h11_max_incomplete_size = settings.max_header_bytes
        self.config.keep_alive_timeout = settings.keep_alive_seconds
        # A producer posts its events on one connection: there is no use in ending that.
        self.config.keep_alive_max_requests = sys.maxsize
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.head_seconds = settings.handshake_timeout_seconds
        self.send_seconds = settings.body_timeout_seconds

    async def terminate(self) -> None:
        """From now on a connection ends with the answer that it is at."""
        await self.context.terminated.set()
        self._streams.end()


class HttpConnection(TCPServer):
    """One connection, as long as it is HTTP.

    Args:
        server: what it shares with the others.
        stream: the peer's end; the caller closes it.
        first: the bytes that were read from it already.
        head_deadline: until then the first request head must be complete, on Trio's clock.
    """

    def __init__(
        self, server: HttpServer, stream: Stream, first: bytes, head_deadline: float
    ) -> None:
        super().__init__(
            server.app,
            server.config,
            server.context,
            ConnectionState({}),
            stream,  # type: ignore[arg-type]  # see Stream
        )
        self._server = server
        self._first = first
        # Until when the request head that has begun must be complete; None between requests.
        self._head_deadline: float | None = head_deadline
        # Between requests, until when the next one must have begun. All that Hypercorn would do
        # in a task of its own is done by the reader and this: at the end of an answer we are
        # called from the request's task, which may be cancelled and can start nothing.
        self._idle_until = inf
        # Set once nothing more is to be sent: what still comes in is thrown away until then.
        self._linger_until: float | None = None
        # What the reading waits for bytes in, and what it handles them in. The latter waits for
        # the end of a request before it takes up the next, and with nothing more to be sent
        # there may be no such end.
        self._receiving = trio.CancelScope()
        self._handling = trio.CancelScope()
        # Set when the connection has stopped being HTTP.
        self._upgrade: Upgrade | None = None

    async def run(self) -> Upgrade | None:  # type: ignore[override]
        """Answer requests until the connection is over, or the peer asks for a WebSocket.

        Cancelling it ends the requests in hand; an answer that is just being sent is finished,
        unless `abort` is called.
        """
        sock = self._socket()
        client = parse_socket_addr(sock.family, sock.getpeername())
        server = parse_socket_addr(sock.family, sock.getsockname())
        async with TaskGroup() as task_group:
            self._task_group = task_group
            self.protocol = _Protocol(  # type: ignore[assignment]
                self.app,
                self.config,
                self.context,
                task_group,
                ConnectionState({}),
                isinstance(self.stream, trio.SSLStream),
                client,
                server,
                self.protocol_send,
                proxies=self._server.proxies,
            )
            await self._read_data()
            if self._upgrade is None:
                await self._part(task_group)
        return self._upgrade

    async def _part(self, task_group: TaskGroup) -> None:
        """Nothing more comes from the peer; it may wait for an answer all the same.

        Some peers close their end as soon as they have sent a whole request.
        """
        if self._http.connection.their_state is h11.SEND_BODY:
            await self.protocol.handle(Closed())
        elif task_group._nursery is not None:
            task_group._nursery.cancel_scope.deadline = trio.current_time() + _LINGER_SECONDS

    @property
    def idle_since(self) -> float:
        """When the last answer ended, or before the first one the first part of a request came.

        Infinity from the next whole request head on, and once the connection comes to its end.
        """
        is_leaving = self._linger_until is not None
        return inf if is_leaving else self._idle_until - self.config.keep_alive_timeout

    def finish_if_idle(self) -> None:
        """Close the connection if it is between two requests."""
        if self._idle_until < inf:
            self._finish()

    def abort(self) -> None:
        """Close the socket under whatever is going on."""
        self._stop_reading(0)
        self._socket().close()

    async def protocol_send(self, event: Event) -> None:
        """What Hypercorn's protocol wants done on the wire."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            await self.protocol.handle(event)
            self._finish()
        elif isinstance(event, Updated):
            keep_alive = self.config.keep_alive_timeout
            self._idle_until = trio.current_time() + keep_alive if event.idle else inf
            self._receiving.deadline = self._read_deadline()

    async def _send(self, data: bytes) -> None:
        async with self.send_lock:
            try:
                # Shielded, so that no answer is cut off when its request is over.
                deadline = trio.current_time() + self._server.send_seconds
                with trio.CancelScope(shield=True, deadline=deadline) as scope:
                    await self.stream.send_all(data)
            except _BROKEN:
                self._stop_reading(0)
            if scope.cancelled_caught:
                self.abort()

    async def _read_data(self) -> None:
        data = self._first
        while data:
            if self._linger_until is None:
                try:
                    with trio.CancelScope() as self._handling:
                        await self.protocol.handle(RawData(data))
                except _UpgradeRequested as requested:
                    self._upgrade = requested.upgrade
                    return
            data = await self._receive()

    async def _receive(self) -> bytes:
        with (
            trio.CancelScope(deadline=self._read_deadline()) as self._receiving,
            suppress(*_BROKEN),
        ):
            return bytes(await self.stream.receive_some(_RECEIVE_BYTES))
        if self._receiving.cancelled_caught and self._linger_until is None:
            if self._head_deadline is not None:
                await self._http._send_error_response(HTTPStatus.REQUEST_TIMEOUT)
            self._finish()
        return b""

    def _read_deadline(self) -> float:
        if self._linger_until is not None:
            return self._linger_until
        connection = self._http.connection
        if connection.their_state is not h11.IDLE or not connection.trailing_data[0]:
            self._head_deadline = None
            return self._idle_until
        now = trio.current_time()
        if self._head_deadline is None:
            self._head_deadline = now + self._server.head_seconds
        # Half a head keeps nobody out.
        self._idle_until = min(self._idle_until, now + self.config.keep_alive_timeout)
        return self._head_deadline

    def _finish(self) -> None:
        """Nothing more will be sent: say so, and let the reading come to its end."""
        if self._linger_until is None:
            if isinstance(self.stream, trio.SocketStream):
                with suppress(OSError):
                    self.stream.socket.shutdown(trio.socket.SHUT_WR)
            # After an error in what they say, nobody knows where it ends.
            connection = self._http.connection
            is_unread = connection.their_state in (h11.SEND_BODY, h11.ERROR)
            linger = is_unread or connection.trailing_data[0]
            self._stop_reading(_LINGER_SECONDS if linger else 0)

    def _stop_reading(self, linger_seconds: float) -> None:
        if self._linger_until is None:
            self._linger_until = trio.current_time() + linger_seconds
            self._receiving.deadline = self._linger_until
            self._handling.cancel()

    @property
    def _http(self) -> "_Protocol":
        return cast(_Protocol, self.protocol)

    def _socket(self) -> trio.socket.SocketType:
        stream: Stream = self.stream
        return (
            stream.socket
            if isinstance(stream, trio.SocketStream)
            else stream.transport_stream.socket
        )


class _Protocol(H11Protocol):
    def __init__(self, *args: Any, proxies: TrustedProxies) -> None:
        super().__init__(*args)
        self._proxies = proxies
        # What the connection itself says of its peer; a proxy's requests come from many clients.
        self._peer = self.client or ("", 0)
        self._is_tls = self.ssl

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn looks here for HTTP/2; we look for WebSockets."""
        request = in_origin_form(event)
        if is_websocket_target(request):
            raise _UpgradeRequested(Upgrade(request, bytes(self.connection.trailing_data[0])))

    async def _create_stream(self, request: h11.Request) -> None:
        """Everything here is plain HTTP, and has a path.

        Hypercorn serves an upgrade to WebSocket itself, on whatever path, unless it does not
        see it; and Quart fails on a target without a path.
        """
        if _head_size(request) > self.config.h11_max_incomplete_size:
            await self._send_error_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            await self.send(Closed())
            return
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
            # Two lengths: a proxy may believe the other one (RFC 9112, section 6.1).
            await self._send_error_response(HTTPStatus.BAD_REQUEST)
            await self.send(Closed())
            return
        request = in_origin_form(request)
        self._see_through_proxies(request)
        target = request.target
        plain = h11.Request(
            method=request.method,
            target=target if target.startswith(b"/") else b"/" + target,
            headers=[(name, value) for name, value in request.headers if name != b"connection"],
            http_version=request.http_version,
        )
        await super()._create_stream(plain)

    def _see_through_proxies(self, request: h11.Request) -> None:
        """Tell the application the client and the scheme of this request."""
        peer, port = self._peer
        address = self._proxies.client(peer, header(request, b"x-forwarded-for"))
        self.client = (address, port)
        # The last of several is that of the proxy before us, which alone we know.
        said = header(request, b"x-forwarded-proto").rpartition(",")[2].strip().lower()
        is_said = said in ("http", "https") and self._proxies.trusts(peer)
        self.ssl = said == "https" if is_said else self._is_tls

    async def _send_error_response(self, status_code: int) -> None:
        """Answer what is not a request."""
        _log.debug("refused", client=self._peer[0], status=int(status_code))
        body = error_body(ErrorKind.of_status(status_code).message)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def _head_size(request: h11.Request) -> int:
    """The bytes of a request head: h11 itself looks only at one that is not all there."""
    line = len(request.method) + len(request.target) + len(b"  HTTP/1.1\r\n\r\n")
    return line + sum(len(name) + len(value) + len(b": \r\n") for name, value in request.headers)
