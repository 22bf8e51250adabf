"""The client's side of the wire: what ``ryze listen`` and ``ryze publish`` do.

`listen` stays connected. However a connection ends, the end is one `Ended`, with a close code or
an HTTP status in it; `what_next` says what that means (contract, section 4), `Pauses` how long to
wait. Both are plain code: no network, no clock, no dice of their own.

trio-websocket speaks the protocol, on a stream that we open and close ourselves: it notices
neither a server that hangs up during the handshake nor one that has fallen silent, and it leaves
its stream open when the server closes first.

`request` and `publish` are synchronous and use no proxy and follow no redirect: a token is sent
to the server that was named, and to nobody else.
"""

import contextlib
import enum
import http.client
import os
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlsplit

import h11
import msgspec
import trio
import trio_websocket
import wsproto.utilities

from ryze.errors import RyzeError

__all__ = [
    "BadToken",
    "BadUrl",
    "Ended",
    "ListenRefused",
    "Next",
    "Pauses",
    "RequestFailed",
    "Server",
    "listen",
    "publish",
    "request",
    "what_next",
]

# From the first packet to the 101, and for each step of a plain HTTP request.
_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 60.0
# How long a server may take to answer our close. Ctrl-C waits for it, so it is short.
_GOODBYE_SECONDS = 1.0
# We ping too: a connection that a router has forgotten shows no end, only silence.
_PING_SECONDS = 30.0
_SILENCE_SECONDS = 90.0
# A connection that lasted this long was a good one: the next pause is short again.
_STEADY_SECONDS = 10.0
# Media travels inside the frames: more than any server's largest body, base64 and envelope.
_MAX_FRAME_BYTES = 256 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024

# The close code of RFC 6455 for a connection that is gone without one.
_ABNORMAL = 1006
# And the one for a server whose certificate is not to be trusted.
_UNTRUSTED = 1015

# What comes out of trio-websocket's reader for bytes that are not the protocol at all.
_NOT_WEBSOCKET = (wsproto.utilities.ProtocolError, h11.ProtocolError)
# What msgspec raises for bytes that are not the JSON we want.
_NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class BadUrl(RyzeError):
    """The server's address is not an ``http://`` or ``https://`` URL."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is not an http:// or https:// URL")
        self.url = url


class BadToken(RyzeError):
    """The token holds something that cannot be sent in a header, or nothing at all."""

    def __init__(self) -> None:
        super().__init__("the token is not one: it must be printable ASCII without spaces")


class RequestFailed(RyzeError):
    """A request was refused, or the server could not be reached.

    Args:
        message: what the server said, or what went wrong on the way.
        status: the HTTP status; None if there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message if status is None else f"{message} (HTTP {status})")
        self.message = message
        self.status = status


@dataclass(frozen=True)
class Server:
    """Where a server is, read from its URL by `Server.at`."""

    tls: bool
    host: str
    port: int
    # Before every path, where the server is mounted under one; no slash at the end.
    prefix: str

    @classmethod
    def at(cls, url: str) -> "Server":
        """Read an ``http://`` or ``https://`` URL; ``ws://`` and ``wss://`` will do as well.

        Raises:
            BadUrl: it is not one.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            # What the resolver would stumble over: empty and endless labels.
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise BadUrl(url) from None
        known = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname
        if not known or re.search(r"[^\x21-\x7e]|[?#@]", url):
            raise BadUrl(url)
        tls = parts.scheme in ("https", "wss")
        default = 443 if tls else 80
        return cls(tls, parts.hostname or "", port or default, parts.path.rstrip("/"))

    def path(self, *parts: str) -> str:
        """The path of a resource, each part percent-encoded."""
        return self.prefix + "".join(f"/{quote(part, safe='')}" for part in parts)

    @property
    def authority(self) -> str:
        """Host and port as in a URL and a ``Host`` header; the usual port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"


# --- How a connection ends, and what then ---


@dataclass(frozen=True)
class Ended:
    """How a connection, or the attempt to make one, came to its end.

    Args:
        code: the WebSocket close code (1000 and more) or the HTTP status (less than 1000).
        reason: what the other side said, or what went wrong.
        retry_after: the seconds of ``Retry-After``, if the server named them.
        lasted_seconds: how long events could come.
    """

    code: int
    reason: str = ""
    retry_after: float | None = None
    lasted_seconds: float = 0.0

    def __str__(self) -> str:
        if self.code in (_ABNORMAL, _UNTRUSTED):
            return self.reason or "connection lost"
        kind = "HTTP" if self.code < 1000 else "close code"
        return f"{self.reason} ({kind} {self.code})" if self.reason else f"{kind} {self.code}"


class ListenRefused(RyzeError):
    """The server does not want us, and trying again would not change that."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(str(ended))
        self.ended = ended


class Next(enum.Enum):
    """What a client does after the end of a connection."""

    STOP = "it is over: the server closed in the ordinary way"
    GIVE_UP = "something must be put right first; trying again would not help"
    BACK_OFF = "come back, after longer and longer pauses"
    COME_BACK_SOON = "come back after a short random wait, as everybody was sent away at once"
    COME_BACK_WHEN_TOLD = "come back when the server said"


_NEXT = {
    408: Next.BACK_OFF,  # Request Timeout: the handshake was too slow
    425: Next.BACK_OFF,  # Too Early, from a balancer
    429: Next.COME_BACK_WHEN_TOLD,
    1000: Next.STOP,
    1002: Next.GIVE_UP,  # protocol error
    1003: Next.GIVE_UP,  # cannot accept this type of data
    1007: Next.GIVE_UP,  # invalid UTF-8
    1008: Next.GIVE_UP,  # policy violation
    1009: Next.GIVE_UP,  # message too big
    1010: Next.GIVE_UP,  # an extension is missing
    1012: Next.COME_BACK_SOON,
    1015: Next.GIVE_UP,  # the certificate is not to be trusted
}


def what_next(code: int) -> Next:
    """What to do after a close code (1000 and more) or an HTTP status (less than 1000).

    Codes that nobody has thought of mean "come back": better one attempt too many than a
    listener that is gone for good.
    """
    if code in _NEXT:
        return _NEXT[code]
    refused = code < 500 or 4500 <= code <= 4999
    return Next.GIVE_UP if refused else Next.BACK_OFF


class Pauses:
    """How long to wait before the next attempt: doubling, with full jitter.

    Args:
        uniform: ``random.uniform``, or something that a test can foresee.
    """

    FIRST = 0.5
    LONGEST = 30.0
    SHORT = 2.0

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        # The upper end of the next pause; doubles with each, starts anew after a good connection.
        self._upper = self.FIRST

    def after(self, ended: Ended) -> float | None:
        """The seconds to wait, or None if this was the ordinary end.

        Raises:
            ListenRefused: there is no use in trying again.
        """
        match what_next(ended.code):
            case Next.STOP:
                return None
            case Next.GIVE_UP:
                raise ListenRefused(ended)
            case Next.COME_BACK_SOON:
                return self._uniform(0, self.SHORT)
            case Next.COME_BACK_WHEN_TOLD if ended.retry_after is not None:
                return ended.retry_after
            case _:
                return self._back_off(ended.lasted_seconds)

    def _back_off(self, lasted_seconds: float) -> float:
        if lasted_seconds >= _STEADY_SECONDS:
            self._upper = self.FIRST
        pause = self._uniform(0, self._upper)
        self._upper = min(self._upper * 2, self.LONGEST)
        return pause


# --- Listening ---


async def listen(
    url: str,
    instance: str,
    token: str,
    *,
    on_frame: Callable[[str], None],
    on_status: Callable[[str], None],
    count: int | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
    sleep: Callable[[float], Awaitable[None]] = trio.sleep,
) -> None:
    """Receive the events of an instance, coming back whenever the connection is lost.

    Returns after `count` frames, or when the server closes in the ordinary way (1000). What is
    published while there is no connection is not received. Cancelled, it says goodbye to the
    server, for a second at most.

    Args:
        url: the server, e.g. ``http://127.0.0.1:8080``.
        instance: whose events.
        token: a TokenInstance or TokenAccount.
        on_frame: called with the text of each frame. What it raises ends the listening.
        on_status: called with a line for people, at each connection and each end of one.
        count: how many frames to receive; None for no end.
        uniform: the dice for the pauses.
        sleep: waits for the pauses.

    Raises:
        ListenRefused: there is no use in trying again.
        BadUrl: `url` is not one.
    """
    listener = _Listener(Server.at(url), instance, token, on_frame, on_status, count)
    pauses = Pauses(uniform)
    while (ended := await listener.run()) is not None:
        pause = pauses.after(ended)
        if pause is None:
            on_status(f"the server ended it: {ended}")
            return
        on_status(f"{ended}; trying again in {pause:.1f} s")
        await sleep(pause)


class _Listener:
    """One connection after the other; `run` is one of them, from attempt to end."""

    def __init__(
        self,
        server: Server,
        instance: str,
        token: str,
        on_frame: Callable[[str], None],
        on_status: Callable[[str], None],
        count: int | None,
    ) -> None:
        self._server = server
        self._path = server.path("ws", instance)
        self._headers = [(b"token", _header_value(token).encode("ascii"))]
        self._on_frame = on_frame
        self._on_status = on_status
        # How many frames are still wanted; None for no end.
        self._left = count
        # When the connection began that is open, in Trio's time; None if there is none.
        self._since: float | None = None

    async def run(self) -> Ended | None:
        """Connect and receive until the end; None when there were enough frames."""
        self._since = None
        try:
            with _without_groups():
                await self._receive()
        except trio_websocket.ConnectionRejected as refusal:
            return _ended_by_refusal(refusal)
        except trio_websocket.ConnectionClosed as closed:
            return self._ended(_code_of(closed), _reason_of(closed))
        except _ConnectionFailed as failure:
            return self._ended(failure.code, str(failure))
        except _NOT_WEBSOCKET:
            return self._ended(_ABNORMAL, "what came is not the WebSocket protocol")
        return None

    async def _receive(self) -> None:
        async with _open_connection(self._server, self._path, self._headers) as connection:
            self._since = trio.current_time()
            self._on_status(f"connected to {self._server}")
            while self._left is None or self._left > 0:
                message = await connection.get_message()
                text = message if isinstance(message, str) else message.decode(errors="replace")
                self._on_frame(text)
                if self._left is not None:
                    self._left -= 1

    def _ended(self, code: int, reason: str) -> Ended:
        lasted = 0.0 if self._since is None else trio.current_time() - self._since
        return Ended(code, reason, lasted_seconds=lasted)


class _ConnectionFailed(Exception):
    """There is no connection, for a reason that is not in the WebSocket protocol."""

    def __init__(self, message: str, code: int = _ABNORMAL) -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def _without_groups() -> Iterator[None]:
    """Nurseries put what is raised inside them into groups; here it comes out bare."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first_of(group) from None


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    # KeyboardInterrupt and Cancelled before ordinary errors, which they often bring about.
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = min(error.exceptions, key=lambda each: isinstance(each, Exception))
    return error


@contextlib.asynccontextmanager
async def _open_connection(
    server: Server, path: str, headers: list[tuple[bytes, bytes]]
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """An open WebSocket that is kept alive; in the end it is closed, whatever the server does."""
    with _timed("connecting"):
        stream = _WatchedStream(await _open_stream(server))
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
        raise _ConnectionFailed(f"{what} took more than {_CONNECT_SECONDS:g} s") from None


async def _open_stream(server: Server) -> trio.abc.Stream:
    try:
        if not server.tls:
            return await trio.open_tcp_stream(server.host, server.port)
        return await _open_tls_stream(server)
    except OSError as error:
        # Trio says that all attempts have failed; why, is in the cause.
        raise _ConnectionFailed(_cannot_reach(server, error.__cause__ or error)) from error


async def _open_tls_stream(server: Server) -> trio.abc.Stream:
    stream = await trio.open_ssl_over_tcp_stream(server.host, server.port, https_compatible=True)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise _tls_failed(server, error.__cause__ or error) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


def _tls_failed(server: Server, cause: BaseException) -> _ConnectionFailed:
    distrusted = isinstance(cause, ssl.SSLCertVerificationError)
    code = _UNTRUSTED if distrusted else _ABNORMAL
    return _ConnectionFailed(_cannot_reach(server, cause), code)


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
            raise _ConnectionFailed("the server hung up without an answer")
        # A refusal is told by trio-websocket when its body is complete; this one never was.
        if (status := int(answer[1])) != 101:
            raise _ConnectionFailed(_phrase(status), status)


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


def _ended_by_refusal(refusal: trio_websocket.ConnectionRejected) -> Ended:
    headers = {name.lower(): value for name, value in refusal.headers}
    reason = _message_of(refusal.status_code, refusal.body or b"")
    told = headers.get(b"retry-after", b"")
    return Ended(refusal.status_code, reason, float(told) if told.isdigit() else None)


def _code_of(closed: trio_websocket.ConnectionClosed) -> int:
    return closed.reason.code if closed.reason else _ABNORMAL


def _reason_of(closed: trio_websocket.ConnectionClosed) -> str:
    return _one_line(closed.reason.reason or "") if closed.reason else ""


# --- Plain requests ---


def publish(url: str, instance: str, token: str, event: str, data: bytes) -> dict[str, Any]:
    """Publish one event and return the server's answer.

    Args:
        url: the server, e.g. ``http://127.0.0.1:8080``.
        instance: to whose clients.
        token: a TokenInstance or TokenAccount.
        event: its type, e.g. ``message.exchange``.
        data: a JSON object, which goes out byte for byte.

    Raises:
        RequestFailed: the server said no, or could not be reached.
        BadUrl: `url` is not one.
    """
    body = b'{"event":%b,"data":%b}' % (msgspec.json.encode(event), data)
    path = ("api", "events", "publish", instance)
    return request("POST", url, path, token=token, body=body)


def request(
    method: str, url: str, path: Sequence[str], *, token: str, body: bytes | None = None
) -> dict[str, Any]:
    """Send a request with a JSON body and return the JSON object that is the answer.

    Args:
        method: e.g. ``GET``.
        url: the server, e.g. ``http://127.0.0.1:8080``.
        path: the parts of the resource's path, not encoded yet.
        token: who asks.
        body: a JSON document.

    Raises:
        RequestFailed: the server said no, or could not be reached.
        BadUrl: `url` is not one.
    """
    server = Server.at(url)
    headers = {"token": _header_value(token), "Content-Type": "application/json"}
    try:
        status, answer = _exchange(server, method, server.path(*path), body, headers)
    except (OSError, http.client.HTTPException) as error:
        raise RequestFailed(_cannot_reach(server, error)) from error
    if not 200 <= status < 300:
        raise RequestFailed(_message_of(status, answer), status)
    return _object_of(status, answer)


def _exchange(
    server: Server, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    with contextlib.closing(_http_connection(server)) as connection:
        connection.connect()
        # A server that refuses a large body answers before it has read it all, and hangs up.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def _http_connection(server: Server) -> http.client.HTTPConnection:
    if server.tls:
        return http.client.HTTPSConnection(server.host, server.port, timeout=_REQUEST_SECONDS)
    return http.client.HTTPConnection(server.host, server.port, timeout=_REQUEST_SECONDS)


def _object_of(status: int, answer: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer, type=dict[str, Any])
    except _NOT_JSON:
        raise RequestFailed("the answer is not ours: is this a ryze server?", status) from None


# --- Words ---


def _message_of(status: int, body: bytes) -> str:
    """What our error envelope says; of other servers, the name of the status."""
    try:
        message = msgspec.json.decode(body, type=_Refusal).error.message
    except _NOT_JSON:
        return _phrase(status)
    return _one_line(message) or _phrase(status)


class _Fault(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Fault


def _phrase(status: int) -> str:
    return http.client.responses.get(status, "")


def _cannot_reach(server: Server, error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        error = _first_of(error)
    return f"cannot reach {server}: {_one_line(_reason(error))}"


def _reason(error: BaseException) -> str:
    # Trio writes the address into `strerror`, which we have said already.
    if isinstance(error, ConnectionError | TimeoutError) and error.errno:
        return os.strerror(error.errno)
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__


def _one_line(text: str) -> str:
    """What others say is shown on a terminal: no line breaks, no escape sequences, no novel."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:300].strip()


def _header_value(token: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", token.strip()):
        raise BadToken
    return token.strip()
