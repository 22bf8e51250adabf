"""One WebSocket to a server: open, keep alive, close.

trio-websocket implements the protocol, on a stream that we open and close ourselves: it detects
neither a server that disconnects during the handshake nor one that has become silent, and it
leaves its stream open when the server closes first. Every failure, before or after the handshake,
is a `ConnectionEnded`.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import cast

import h11
import trio
import trio_websocket
import wsproto.utilities

from ryze.client.error_text import connect_error, sanitize_line, server_message, status_phrase
from ryze.client.reconnect import ABNORMAL, UNTRUSTED, ConnectionEnded, ConnectionOutcome
from ryze.client.server_address import ServerAddress, validate_token
from ryze.exception_groups import unwrap_groups

__all__ = ["open_connection"]

# For the stream, TLS included, and again for the WebSocket handshake.
_CONNECT_SECONDS = 10.0
# For the closing handshake. Short, as Ctrl-C waits for it.
_CLOSE_SECONDS = 1.0
# Heartbeat: a connection dropped by a router is silent, it does not end.
_PING_SECONDS = 30.0
_SILENCE_SECONDS = 90.0
# Frames contain media: above the largest body that a server accepts, with base64 and envelope.
_MAX_FRAME_BYTES = 256 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024

# Linux only. Not SO_RCVBUF: a reader that paused until it was full took 4 s to catch up (measured).
_WINDOW_CLAMP: int | None = getattr(socket, "TCP_WINDOW_CLAMP", None)

_NetworkStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

# Raised by trio-websocket's reader for bytes that are not WebSocket or HTTP.
_NOT_WEBSOCKET = (wsproto.utilities.ProtocolError, h11.ProtocolError)


@contextlib.asynccontextmanager
async def open_connection(
    url: str, path: Sequence[str], token: str, *, window_bytes: int | None = None
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """Open a WebSocket and keep it alive while the block runs; then close it.

    Exceptions are raised bare, not in the exception groups of nurseries. If cancelled, performs
    the closing handshake, for at most 1 s.

    Args:
        url: of the server, e.g. ``http://127.0.0.1:8080``.
        path: segments of the path, not percent-encoded.
        token: TokenInstance or TokenAccount.
        window_bytes: limit of the TCP receive window, for a client that pauses reading (Linux
            only); by default the operating system decides, which may be many MB.

    Raises:
        ConnectionEnded: the connection could not be opened, or has ended.
        BadUrl: `url` is not an ``http://`` or ``https://`` URL.
        BadToken: `token` cannot be sent in a header.
    """
    address = ServerAddress.parse(url)
    headers = [(b"token", validate_token(token).encode("ascii"))]
    with _translate_errors():
        async with _open(address, address.path(*path), headers, window_bytes) as connection:
            yield connection


# --- Errors ---


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        with unwrap_groups():
            yield
    except trio_websocket.ConnectionRejected as refusal:
        raise ConnectionEnded(_outcome_of_refusal(refusal)) from refusal
    except trio_websocket.ConnectionClosed as closed:
        raise ConnectionEnded(_outcome_of_close(closed.reason)) from closed
    except _NOT_WEBSOCKET as error:
        outcome = ConnectionOutcome(ABNORMAL, "the server does not speak the WebSocket protocol")
        raise ConnectionEnded(outcome) from error


def _outcome_of_refusal(refusal: trio_websocket.ConnectionRejected) -> ConnectionOutcome:
    headers = {name.lower(): value for name, value in refusal.headers}
    reason = server_message(refusal.status_code, refusal.body or b"")
    seconds = headers.get(b"retry-after", b"")
    retry_after = float(seconds) if seconds.isdigit() else None
    return ConnectionOutcome(refusal.status_code, reason, retry_after)


def _outcome_of_close(close: trio_websocket.CloseReason | None) -> ConnectionOutcome:
    return (
        ConnectionOutcome(close.code, sanitize_line(close.reason or ""))
        if close
        else ConnectionOutcome(ABNORMAL)
    )


# --- Opening ---


@contextlib.asynccontextmanager
async def _open(
    address: ServerAddress, path: str, headers: list[tuple[bytes, bytes]], window_bytes: int | None
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    with _connect_timeout("connecting"):
        network_stream = await _open_stream(address)
    if window_bytes is not None and _WINDOW_CLAMP is not None:
        transport = _transport_of(network_stream)
        transport.setsockopt(socket.IPPROTO_TCP, _WINDOW_CLAMP, window_bytes)
    stream = _WatchedStream(network_stream)
    try:
        async with trio.open_nursery() as nursery:
            with _connect_timeout("the handshake"):
                connection = await _handshake(nursery, stream, address, path, headers)
            nursery.start_soon(_keep_alive, connection, stream)
            try:
                yield connection
            finally:
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await connection.aclose()
                nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


@contextlib.contextmanager
def _connect_timeout(step: str) -> Iterator[None]:
    try:
        with trio.fail_after(_CONNECT_SECONDS):
            yield
    except trio.TooSlowError:
        reason = f"{step} took more than {_CONNECT_SECONDS:g} s"
        raise ConnectionEnded(ConnectionOutcome(ABNORMAL, reason)) from None


async def _open_stream(address: ServerAddress) -> _NetworkStream:
    try:
        if not address.tls:
            return await trio.open_tcp_stream(address.host, address.port)
        return await _open_tls_stream(address)
    except (OSError, trio.BrokenResourceError) as error:
        # Trio's error says which step failed; the reason is its cause.
        cause = error.__cause__ or error
        code = UNTRUSTED if isinstance(cause, ssl.SSLCertVerificationError) else ABNORMAL
        raise ConnectionEnded(ConnectionOutcome(code, connect_error(address, cause))) from error


def _transport_of(stream: _NetworkStream) -> trio.SocketStream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


async def _open_tls_stream(address: ServerAddress) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_ssl_over_tcp_stream(address.host, address.port, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _handshake(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    address: ServerAddress,
    path: str,
    headers: list[tuple[bytes, bytes]],
) -> trio_websocket.WebSocketConnection:
    return await trio_websocket.wrap_client_stream(
        nursery,
        cast("trio.SocketStream", stream),  # it takes any stream
        address.authority,
        path,
        extra_headers=headers,
        max_message_size=_MAX_FRAME_BYTES,
        receive_buffer_size=_RECEIVE_BYTES,
    )


# --- Failures that trio-websocket does not detect ---


class _WatchedStream(trio.abc.Stream):
    """Stream that records the last receive time and detects a failed handshake.

    trio-websocket would wait forever for the response of a server that has disconnected.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        # First bytes of the response, up to the status: `HTTP/1.1 101`.
        self._status_line = b""
        # Trio's time of the last byte received.
        self.received_at = trio.current_time()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        with self._handshake_errors():
            data = bytes(await self._stream.receive_some(max_bytes))
        if not data:
            self._check_upgraded()
        self._status_line += data[: 12 - len(self._status_line)]
        self.received_at = trio.current_time()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._handshake_errors():
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @contextlib.contextmanager
    def _handshake_errors(self) -> Iterator[None]:
        try:
            yield
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._check_upgraded()
            raise

    def _check_upgraded(self) -> None:
        match = re.match(rb"HTTP/1\.[01] (\d{3})", self._status_line)
        if match is None:
            reason = "the server closed the connection without a response"
            raise ConnectionEnded(ConnectionOutcome(ABNORMAL, reason))
        # trio-websocket reports a refusal once its body is complete; this one was cut short.
        if (status := int(match[1])) != 101:
            raise ConnectionEnded(ConnectionOutcome(status, status_phrase(status)))


async def _keep_alive(
    connection: trio_websocket.WebSocketConnection, stream: _WatchedStream
) -> None:
    """Ping every 30 s; abort the connection after 90 s without a byte.

    Any byte counts, not only a pong, which may be queued behind a large frame on a slow line.
    """
    with contextlib.suppress(trio_websocket.ConnectionClosed):
        while trio.current_time() < stream.received_at + _SILENCE_SECONDS:
            await trio.sleep(_PING_SECONDS)
            with trio.move_on_after(_PING_SECONDS):
                await connection.ping()
    await trio.aclose_forcefully(stream)
