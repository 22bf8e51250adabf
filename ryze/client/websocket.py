"""One WebSocket to a server: opened, kept alive, and closed whatever the server does.

trio-websocket speaks the protocol, on a stream that we open and close ourselves: it notices
neither a server that hangs up during the handshake nor one that has fallen silent, and it leaves
its stream open when the server closes first. However a connection ends, and whether or not there
ever was one, the end is a `ConnectionEnded`.
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

from ryze.client.error_text import cannot_reach, message_of, one_line, phrase
from ryze.client.reconnect import ABNORMAL, UNTRUSTED, ConnectionEnded, ConnectionOutcome
from ryze.client.server_address import Server, header_value
from ryze.exception_groups import unwrap_groups

__all__ = ["open_connection"]

# For the stream, TLS included, and once more for the handshake up to the 101.
_CONNECT_SECONDS = 10.0
# How long a server may take to answer our close. Ctrl-C waits for it, so it is short.
_GOODBYE_SECONDS = 1.0
# We ping too: a connection that a router has forgotten shows no end, only silence.
_PING_SECONDS = 30.0
_SILENCE_SECONDS = 90.0
# Media travels inside the frames: more than any server's largest body, base64 and envelope.
_MAX_FRAME_BYTES = 256 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024

# Linux only. Not SO_RCVBUF: a reader that went on after filling it took 4 s to catch up (measured).
_WINDOW_CLAMP: int | None = getattr(socket, "TCP_WINDOW_CLAMP", None)

# With TLS or without.
_Opened = trio.SocketStream | trio.SSLStream[trio.SocketStream]

# What comes out of trio-websocket's reader for bytes that are not the protocol at all.
_NOT_WEBSOCKET = (wsproto.utilities.ProtocolError, h11.ProtocolError)


@contextlib.asynccontextmanager
async def open_connection(
    url: str, path: Sequence[str], token: str, *, window_bytes: int | None = None
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """An open WebSocket that is kept alive; in the end it is closed, whatever the server does.

    What is raised comes out bare, not in the groups of nurseries. Cancelled, it still says
    goodbye, for a second at most.

    Args:
        url: the server, e.g. ``http://127.0.0.1:8080``.
        path: the parts of the path, not encoded yet.
        token: a TokenInstance or TokenAccount.
        window_bytes: how much the server may send to who does not read, where the operating
            system takes such wishes; its own choice if not given, which may be many MB.

    Raises:
        ConnectionEnded: it could not be made, or what was done with it has found it closed.
        BadUrl: `url` is not one.
        BadToken: `token` cannot be sent.
    """
    server = Server.at(url)
    headers = [(b"token", header_value(token).encode("ascii"))]
    with _one_kind_of_end():
        async with _open(server, server.path(*path), headers, window_bytes) as connection:
            yield connection


# --- How it ends ---


@contextlib.contextmanager
def _one_kind_of_end() -> Iterator[None]:
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
    reason = message_of(refusal.status_code, refusal.body or b"")
    told = headers.get(b"retry-after", b"")
    return ConnectionOutcome(refusal.status_code, reason, float(told) if told.isdigit() else None)


def _outcome_of_close(close: trio_websocket.CloseReason | None) -> ConnectionOutcome:
    return (
        ConnectionOutcome(close.code, one_line(close.reason or ""))
        if close
        else ConnectionOutcome(ABNORMAL)
    )


# --- How it begins ---


@contextlib.asynccontextmanager
async def _open(
    server: Server, path: str, headers: list[tuple[bytes, bytes]], window_bytes: int | None
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    with _timed("connecting"):
        opened = await _open_stream(server)
    if window_bytes is not None and _WINDOW_CLAMP is not None:
        _socket_of(opened).setsockopt(socket.IPPROTO_TCP, _WINDOW_CLAMP, window_bytes)
    stream = _WatchedStream(opened)
    try:
        async with trio.open_nursery() as nursery:
            with _timed("the handshake"):
                connection = await _shake_hands(nursery, stream, server, path, headers)
            nursery.start_soon(_keep_alive, connection, stream)
            try:
                yield connection
            finally:
                with trio.move_on_after(_GOODBYE_SECONDS, shield=True):
                    await connection.aclose()
                nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    try:
        with trio.fail_after(_CONNECT_SECONDS):
            yield
    except trio.TooSlowError:
        reason = f"{what} took more than {_CONNECT_SECONDS:g} s"
        raise ConnectionEnded(ConnectionOutcome(ABNORMAL, reason)) from None


async def _open_stream(server: Server) -> _Opened:
    try:
        if not server.tls:
            return await trio.open_tcp_stream(server.host, server.port)
        return await _open_tls_stream(server)
    except (OSError, trio.BrokenResourceError) as error:
        # Trio says that all attempts, or the TLS handshake, have failed; why, is in the cause.
        cause = error.__cause__ or error
        code = UNTRUSTED if isinstance(cause, ssl.SSLCertVerificationError) else ABNORMAL
        raise ConnectionEnded(ConnectionOutcome(code, cannot_reach(server, cause))) from error


def _socket_of(stream: _Opened) -> trio.SocketStream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


async def _open_tls_stream(server: Server) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_ssl_over_tcp_stream(server.host, server.port, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _shake_hands(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    server: Server,
    path: str,
    headers: list[tuple[bytes, bytes]],
) -> trio_websocket.WebSocketConnection:
    return await trio_websocket.wrap_client_stream(
        nursery,
        cast("trio.SocketStream", stream),  # any stream will do, its own tests use others too
        server.authority,
        path,
        extra_headers=headers,
        max_message_size=_MAX_FRAME_BYTES,
        receive_buffer_size=_RECEIVE_BYTES,
    )


# --- What trio-websocket does not notice ---


class _WatchedStream(trio.abc.Stream):
    """A stream that knows when it last heard from the server, and when the handshake fails.

    trio-websocket would wait for ever for the answer of a server that hangs up instead.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        # The beginning of the server's answer, up to the status: `HTTP/1.1 101`.
        self._status_line = b""
        # When the last byte came, in Trio's time.
        self.heard_at = trio.current_time()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        with self._handshake_errors():
            data = bytes(await self._stream.receive_some(max_bytes))
        if not data:
            self._check_upgraded()
        self._status_line += data[: 12 - len(self._status_line)]
        self.heard_at = trio.current_time()
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
        answer = re.match(rb"HTTP/1\.[01] (\d{3})", self._status_line)
        if answer is None:
            reason = "the server closed the connection without a response"
            raise ConnectionEnded(ConnectionOutcome(ABNORMAL, reason))
        # A refusal is told by trio-websocket when its body is complete; this one never was.
        if (status := int(answer[1])) != 101:
            raise ConnectionEnded(ConnectionOutcome(status, phrase(status)))


async def _keep_alive(
    connection: trio_websocket.WebSocketConnection, stream: _WatchedStream
) -> None:
    """Ping now and then; break the connection after a long silence.

    Any byte counts, not the pong alone, which may come after a large frame on a slow line.
    """
    with contextlib.suppress(trio_websocket.ConnectionClosed):
        while trio.current_time() < stream.heard_at + _SILENCE_SECONDS:
            await trio.sleep(_PING_SECONDS)
            with trio.move_on_after(_PING_SECONDS):
                await connection.ping()
    await trio.aclose_forcefully(stream)
