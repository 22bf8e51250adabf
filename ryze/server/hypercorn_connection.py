"""One HTTP connection, handed to Hypercorn's protocol and through it to Quart.

`HttpConnection` takes the place of Hypercorn's `TCPServer`, which differs in three points:

- It cannot end with a request for a WebSocket: here `run` returns the `Upgrade`, and the caller
  hands the stream to the WebSocket server.
- It shields its sends without a deadline, so a peer that does not read could delay a shutdown.
- It keeps the idle time in a task of its own. Here the reader keeps it: at the end of a response
  we are called from the task of the request, which may be cancelled and cannot start a task.

Hypercorn's internals, pinned to their minor version, are used here and in `hypercorn_protocol`
only.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from math import inf

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr
from quart_trio import QuartTrio

from ryze.server.hypercorn_protocol import HttpProtocol, Upgrade, UpgradeRequested
from ryze.server.tls import Stream
from ryze.server.trusted_proxies import TrustedProxies
from ryze.settings import Settings

__all__ = ["HttpConnection", "HttpContext"]

_RECEIVE_BYTES = 65536

# For how long a connection outlives one of its ends. Closing with bytes unread resets a connection,
# and a response that was sent before the end of the request's body would be lost: so the rest is
# read for this long. Likewise a peer that has closed its end may wait for its response.
_LINGER_SECONDS = 2

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)


class HttpContext:
    """Shared state of all HTTP connections of a server.

    Args:
        app: serves the requests.
        proxies: whose forwarding headers are believed.
        settings: for the limits.
        end_streams: ends the requests with a streamed body, which do not end by themselves.
    """

    def __init__(
        self,
        app: QuartTrio,
        proxies: TrustedProxies,
        settings: Settings,
        *,
        end_streams: Callable[[], None],
    ) -> None:
        self._end_streams = end_streams
        self.app = ASGIWrapper(app)
        self.context = WorkerContext(None)
        self.config = Config()
        self.config.accesslog = None
        self.config.errorlog = logging.getLogger("ryze.http")
        self.config.include_server_header = False
        self.config.h11_max_incomplete_size = settings.max_header_bytes
        self.config.keep_alive_timeout = settings.keep_alive_seconds
        # A producer posts its events over one connection; ending it gains nothing.
        self.config.keep_alive_max_requests = sys.maxsize
        self.proxies = proxies
        self.head_seconds = settings.handshake_timeout_seconds
        self.send_seconds = settings.body_timeout_seconds

    async def drain(self) -> None:
        """End each connection with its current response from now on. No checkpoint."""
        await self.context.terminated.set()
        self._end_streams()


class HttpConnection:
    """One connection, as long as it is HTTP.

    Args:
        shared: state that all connections share.
        stream: of the peer; the caller closes it.
        first: the bytes that were received already.
        head_deadline: for the first request head to be complete, on Trio's clock.
    """

    def __init__(
        self, shared: HttpContext, stream: Stream, first: bytes, head_deadline: float
    ) -> None:
        self._shared = shared
        self._stream = stream
        self._first = first
        self._send_lock = trio.Lock()
        # Deadline of the request head that has begun; None between requests.
        self._head_deadline: float | None = head_deadline
        # Between requests: when the connection is closed as idle. Infinity during a request.
        self._idle_until = inf
        # Set once nothing more will be sent: until then, received bytes are discarded.
        self._linger_until: float | None = None
        # Of the wait for bytes, and of their handling. The latter waits for the end of a request
        # before it handles the next one; once nothing more is sent that end may never come.
        self._receiving = trio.CancelScope()
        self._handling = trio.CancelScope()
        # Set when the connection has stopped being HTTP.
        self._upgrade: Upgrade | None = None
        # Set by run(), before anything is received.
        self._protocol: HttpProtocol

    async def run(self) -> Upgrade | None:
        """Serve requests until the connection ends, or the peer asks for a WebSocket.

        Cancelling it ends the current requests; a response that is being sent is completed, unless
        `abort` is called.
        """
        async with TaskGroup() as task_group:
            self._protocol = self._new_protocol(task_group)
            await self._read_data()
            if self._upgrade is None:
                await self._end_reading(task_group)
        return self._upgrade

    @property
    def idle_since(self) -> float:
        """Time of the end of the last response; before one, of the first bytes of a request.

        On Trio's clock. Infinity from the next complete request head on, and while the connection
        is closing.
        """
        is_closing = self._linger_until is not None
        return inf if is_closing else self._idle_until - self._shared.config.keep_alive_timeout

    def close_if_idle(self) -> None:
        """Close the connection if it is between two requests."""
        if self._idle_until < inf:
            self._finish()

    def abort(self) -> None:
        """Close the socket whatever is in flight."""
        self._stop_reading(0)
        self._socket().close()

    def _new_protocol(self, task_group: TaskGroup) -> HttpProtocol:
        sock = self._socket()
        return HttpProtocol(
            self._shared.app,
            self._shared.config,
            self._shared.context,
            task_group,
            ConnectionState({}),
            isinstance(self._stream, trio.SSLStream),
            parse_socket_addr(sock.family, sock.getpeername()),
            parse_socket_addr(sock.family, sock.getsockname()),
            self._handle_protocol_event,
            proxies=self._shared.proxies,
        )

    async def _end_reading(self, task_group: TaskGroup) -> None:
        """End the requests, as nothing more is received; give complete ones time for a response.

        Some peers close their end as soon as they have sent a request (`nc -N`).
        """
        if self._protocol.connection.their_state is h11.SEND_BODY:
            await self._protocol.handle(Closed())
        elif task_group._nursery is not None:
            task_group._nursery.cancel_scope.deadline = trio.current_time() + _LINGER_SECONDS

    async def _handle_protocol_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            await self._protocol.handle(event)
            self._finish()
        elif isinstance(event, Updated):
            keep_alive = self._shared.config.keep_alive_timeout
            self._idle_until = trio.current_time() + keep_alive if event.idle else inf
            self._receiving.deadline = self._read_deadline()

    async def _send(self, data: bytes) -> None:
        async with self._send_lock:
            try:
                # Shielded: the end of a request does not cut off its response.
                deadline = trio.current_time() + self._shared.send_seconds
                with trio.CancelScope(shield=True, deadline=deadline) as scope:
                    await self._stream.send_all(data)
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
                        await self._protocol.handle(RawData(data))
                except UpgradeRequested as requested:
                    self._upgrade = requested.upgrade
                    return
            data = await self._receive()

    async def _receive(self) -> bytes:
        with (
            trio.CancelScope(deadline=self._read_deadline()) as self._receiving,
            suppress(*_BROKEN),
        ):
            return bytes(await self._stream.receive_some(_RECEIVE_BYTES))
        if self._receiving.cancelled_caught and self._linger_until is None:
            if self._head_deadline is not None:
                await self._protocol.send_error_response(HTTPStatus.REQUEST_TIMEOUT)
            self._finish()
        return b""

    def _read_deadline(self) -> float:
        if self._linger_until is not None:
            return self._linger_until
        connection = self._protocol.connection
        if connection.their_state is not h11.IDLE or not connection.trailing_data[0]:
            self._head_deadline = None
            return self._idle_until
        now = trio.current_time()
        if self._head_deadline is None:
            self._head_deadline = now + self._shared.head_seconds
        # A connection with half a request head counts as idle: it may be evicted.
        self._idle_until = min(self._idle_until, now + self._shared.config.keep_alive_timeout)
        return self._head_deadline

    def _finish(self) -> None:
        """Send nothing more: signal the end, and read what must be read before closing."""
        if self._linger_until is None:
            if isinstance(self._stream, trio.SocketStream):
                with suppress(OSError):
                    self._stream.socket.shutdown(trio.socket.SHUT_WR)
            # After a protocol error the end of the request is unknown.
            connection = self._protocol.connection
            is_unread = connection.their_state in (h11.SEND_BODY, h11.ERROR)
            must_linger = is_unread or connection.trailing_data[0]
            self._stop_reading(_LINGER_SECONDS if must_linger else 0)

    def _stop_reading(self, linger_seconds: float) -> None:
        if self._linger_until is None:
            self._linger_until = trio.current_time() + linger_seconds
            self._receiving.deadline = self._linger_until
            self._handling.cancel()

    def _socket(self) -> trio.socket.SocketType:
        stream = self._stream
        return (
            stream.socket
            if isinstance(stream, trio.SocketStream)
            else stream.transport_stream.socket
        )
