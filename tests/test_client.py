"""The client's side: what an end means, how long to wait, and real connections on loopback."""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio_websocket
import trustme
from trio.testing import memory_stream_pair
from trio_websocket import WebSocketConnection, WebSocketRequest, serve_websocket
from wsproto.utilities import LocalProtocolError

from ryze import client
from ryze.client import (
    BadToken,
    BadUrl,
    Ended,
    ListenRefused,
    Next,
    Pauses,
    RequestFailed,
    Server,
    listen,
    publish,
    request,
    what_next,
)
from ryze.gateway import disconnects

TOKEN = "the-instance-token"

# --- Addresses ---


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://a.example/", "http://a.example"),
        ("ws://a.example:81", "http://a.example:81"),
        ("wss://a.example/ryze/", "https://a.example/ryze"),
        ("https://a.example:443", "https://a.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_servers_are_read_from_urls(url: str, shown: str) -> None:
    assert str(Server.at(url)) == shown


def test_parts_of_a_path_are_encoded() -> None:
    assert Server.at("http://a/ryze").path("ws", "a/b?c") == "/ryze/ws/a%2Fb%3Fc"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "ftp://a.example",
        "http://",
        "http://a:99999",
        "http://[::1",
        "http://a b",
        "http://a?token=x",
        "http://user@a",
        "http://a..b",
        f"http://{'a' * 64}.example",
    ],
)
def test_other_addresses_are_bad(url: str) -> None:
    with pytest.raises(BadUrl, match="is not an http:// or https:// URL"):
        Server.at(url)


# --- Decisions ---


@pytest.mark.parametrize(
    ("codes", "decision"),
    [
        ((1000,), Next.STOP),
        ((1001, 1005, 1006, 1011, 1013, 3000), Next.BACK_OFF),
        ((4000, 4008, 4009, 4499), Next.BACK_OFF),
        ((500, 502, 503, 504, 408), Next.BACK_OFF),
        ((1012,), Next.COME_BACK_SOON),
        ((429,), Next.COME_BACK_WHEN_TOLD),
        ((4500, 4501, 4504, 4999), Next.GIVE_UP),
        ((1002, 1003, 1007, 1008, 1009, 1010, 1015), Next.GIVE_UP),
        ((200, 301, 400, 401, 403, 404, 426), Next.GIVE_UP),
    ],
)
def test_what_a_code_means(codes: tuple[int, ...], decision: Next) -> None:
    assert {code: what_next(code) for code in codes} == dict.fromkeys(codes, decision)


def test_our_own_disconnects_mean_what_the_contract_says() -> None:
    come_back = {1001, 1011, 1012, 4008, 4009}
    stop = {1000, 1002, 1007, 1009, 4501, 4504}
    decisions = {each.code: what_next(each.code) for each in disconnects.ALL if each.code}
    over = {code for code, next_ in decisions.items() if next_ in (Next.STOP, Next.GIVE_UP)}
    assert stop <= over
    assert not come_back & over


def upper(_low: float, high: float) -> float:
    return high


def test_pauses_double_up_to_half_a_minute() -> None:
    pauses = Pauses(upper)
    waits = [pauses.after(Ended(1006)) for _ in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_pauses_have_full_jitter() -> None:
    asked: list[tuple[float, float]] = []

    def low(*bounds: float) -> float:
        asked.append((bounds[0], bounds[1]))
        return bounds[0]

    pauses = Pauses(low)
    assert [pauses.after(Ended(code)) for code in (1001, 503, 1012)] == [0, 0, 0]
    assert asked == [(0, 0.5), (0, 1), (0, 2)]


def test_a_good_connection_makes_the_pauses_short_again() -> None:
    pauses = Pauses(upper)
    waits = [pauses.after(Ended(1006, lasted_seconds=lasted)) for lasted in (0, 9, 10, 0)]
    assert waits == [0.5, 1, 0.5, 1]


def test_the_server_says_when_to_come_back() -> None:
    pauses = Pauses(upper)
    assert pauses.after(Ended(429, retry_after=17)) == 17
    assert pauses.after(Ended(429)) == 0.5


def test_the_ordinary_end_has_no_pause() -> None:
    assert Pauses().after(Ended(1000)) is None


def test_a_refusal_is_an_error_in_one_line() -> None:
    with pytest.raises(ListenRefused, match=r"^Invalid token \(HTTP 401\)$") as caught:
        Pauses().after(Ended(401, "Invalid token"))
    assert caught.value.ended.code == 401


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (Ended(1006), "connection lost"),
        (Ended(1006, "cannot reach it"), "cannot reach it"),
        (Ended(1015, "the certificate"), "the certificate"),
        (Ended(4008, "slow consumer"), "slow consumer (close code 4008)"),
        (Ended(599), "HTTP 599"),
    ],
)
def test_ends_are_told_in_words(ended: Ended, text: str) -> None:
    assert str(ended) == text


# --- Listening, to real servers ---

Handler = Callable[[WebSocketRequest], Awaitable[None]]


class Listening:
    """Runs `listen` and keeps what it tells; pauses are noted, not waited for."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.status: list[str] = []
        self.pauses: list[float] = []

    async def run(self, url: str, **options: Any) -> None:
        options = {"on_frame": self.frames.append, "on_status": self.status.append} | options
        with trio.fail_after(20):
            await listen(url, "orders", TOKEN, uniform=upper, sleep=self._sleep, **options)

    async def _sleep(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        self.pauses.append(seconds)


@contextlib.asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0, tls)
        yield f"https://localhost:{server.port}" if tls else f"http://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def answering(*answers: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers each connection with the next of these bytes and hangs up.

    None: hangs up without reading anything.
    """
    left, requests = list(answers), []

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            reply = left.pop(0) if len(left) > 1 else left[0]
            if reply is None:
                return
            requests.append(await read_request(stream))
            await stream.send_all(reply)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", requests
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await more(stream)
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += await more(stream)
    return head + b"\r\n\r\n" + body


async def more(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some())
    assert data, "the client hung up in the middle of its request"
    return data


def closing(*codes: int, reason: str = "") -> Handler:
    """Closes each connection with the next code; after the last one sends frames for ever."""
    left = list(codes)

    async def handler(asked: WebSocketRequest) -> None:
        connection = await asked.accept()
        if left:
            await connection.aclose(left.pop(0), reason or None)
            return
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                await connection.send_message("{}")

    return handler


def refusing(status: int, message: str, **headers: str) -> bytes:
    body = json.dumps({"success": False, "error": {"message": message}}).encode()
    lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_frames_are_received_until_there_are_enough() -> None:
    asked: list[WebSocketRequest] = []

    async def handler(request: WebSocketRequest) -> None:
        asked.append(request)
        connection = await request.accept()
        await connection.send_message('{"n": 1}')
        await connection.send_message(b'{"n": 2}')
        await connection.send_message('{"n": 3}')
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await connection.get_message()

    listening = Listening()
    async with serving(handler) as url:
        await listening.run(url, count=2)
    assert listening.frames == ['{"n": 1}', '{"n": 2}']
    assert listening.status == [f"connected to {url}"]
    assert asked[0].path == "/ws/orders"
    assert (b"token", TOKEN.encode()) in asked[0].headers


async def test_large_frames_are_received() -> None:
    large = json.dumps({"data": "x" * 3_000_000})

    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.send_message(large)
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await connection.get_message()

    listening = Listening()
    async with serving(handler) as url:
        await listening.run(url, count=1)
    assert listening.frames == [large]


async def test_pings_are_answered() -> None:
    answered = trio.Event()

    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.ping(b"are you there?")
        answered.set()
        await connection.aclose()

    async with serving(handler) as url:
        await Listening().run(url)
    assert answered.is_set()


async def test_the_ordinary_close_ends_it() -> None:
    listening = Listening()
    async with serving(closing(1000, reason="bye")) as url:
        await listening.run(url)
    assert listening.pauses == []
    assert listening.status[1:] == ["the server ended it: bye (close code 1000)"]


async def test_it_comes_back_after_the_codes_that_allow_it() -> None:
    listening = Listening()
    async with serving(closing(1001, 1011, 1012, 4008)) as url:
        await listening.run(url, count=3)
    assert listening.pauses == [0.5, 1, 2, 2]
    assert listening.frames == ["{}"] * 3
    assert listening.status[1] == "close code 1001; trying again in 0.5 s"


@pytest.mark.parametrize("code", [1002, 1007, 1009, 4501, 4504])
async def test_it_stops_at_the_codes_that_say_so(code: int) -> None:
    listening = Listening()
    async with serving(closing(code, reason="stop\x1b[2J\nit")) as url:
        with pytest.raises(ListenRefused, match=rf"^stop \[2J it \(close code {code}\)$"):
            await listening.run(url)
    assert listening.pauses == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
async def test_refusals_stop_it_with_the_message_of_the_server(status: int) -> None:
    async with answering(refusing(status, "Why not")) as (url, _requests):
        with pytest.raises(ListenRefused, match=rf"^Why not \(HTTP {status}\)$"):
            await Listening().run(url)


async def test_it_waits_as_long_as_a_rate_limit_says() -> None:
    listening = Listening()
    refusals = [
        refusing(429, "Rate limit exceeded. Try again later.", Retry_After="17"),
        refusing(503, "Server is shutting down"),
        refusing(429, "Rate limit exceeded. Try again later.", Retry_After="tomorrow"),
        refusing(404, "Instance not found"),
    ]
    async with answering(*refusals) as (url, _requests):
        with pytest.raises(ListenRefused):
            await listening.run(url)
    assert listening.pauses == [17, 0.5, 1]
    assert listening.status[0] == (
        "Rate limit exceeded. Try again later. (HTTP 429); trying again in 17.0 s"
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "the server hung up without an answer"),
        (b"", "the server hung up without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "what came is not the WebSocket protocol"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "Bad Gateway (HTTP 502)"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", "Bad Gateway (HTTP 502)"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "Bad Gateway (HTTP 502)"),
    ],
)
async def test_servers_that_are_not_ours_are_tried_again(answer: bytes | None, words: str) -> None:
    listening = Listening()
    async with answering(answer, refusing(404, "")) as (url, _requests):
        with pytest.raises(ListenRefused, match=r"^Not Found \(HTTP 404\)$"):
            await listening.run(url)
    assert listening.status == [f"{words}; trying again in 0.5 s"]


async def test_a_connection_that_breaks_is_made_anew() -> None:
    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection._stream.aclose()

    listening = Listening()
    async with serving(handler) as url, trio.open_nursery() as nursery:

        def enough(text: str) -> None:
            listening.status.append(text)
            if len(listening.status) == 4:
                nursery.cancel_scope.cancel()

        await listening.run(url, on_status=enough)
    assert listening.status[1::2] == [
        "connection lost; trying again in 0.5 s",
        "connection lost; trying again in 1.0 s",
    ]


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        listening = Listening()
        with trio.CancelScope() as scope:

            def enough(text: str) -> None:
                listening.status.append(text)
                scope.cancel()

            await listening.run(url, on_status=enough)
    assert listening.status == [f"cannot reach {url}: Connection refused; trying again in 0.5 s"]


async def test_what_on_frame_raises_comes_out_bare() -> None:
    def full(_frame: str) -> None:
        raise BrokenPipeError

    async with serving(closing()) as url:
        with pytest.raises(BrokenPipeError):
            await Listening().run(url, on_frame=full)


async def test_cancelled_it_says_goodbye() -> None:
    said: list[int] = []
    heard = trio.Event()

    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.send_message("{}")
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await connection.get_message()
        assert connection.closed
        said.append(connection.closed.code)
        heard.set()

    async with serving(handler) as url:
        with trio.CancelScope() as scope:
            await Listening().run(url, on_frame=lambda _frame: scope.cancel())
        assert scope.cancelled_caught
        with trio.fail_after(20):
            await heard.wait()
    assert said == [1000]


async def test_a_bad_token_or_address_is_found_before_connecting() -> None:
    nothing: Any = None
    with pytest.raises(BadToken):
        await listen("http://a", "i", "two words", on_frame=nothing, on_status=nothing)
    with pytest.raises(BadUrl):
        await listen("a", "i", TOKEN, on_frame=nothing, on_status=nothing)


async def test_a_broken_protocol_is_an_end_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def garbled(_connection: WebSocketConnection) -> str:
        await trio.lowlevel.checkpoint()
        raise LocalProtocolError("garbled")

    monkeypatch.setattr(WebSocketConnection, "get_message", garbled)
    listening = Listening()
    async with serving(closing()) as url:
        with trio.CancelScope() as scope:

            async def sleep(_seconds: float) -> None:
                scope.cancel()
                await trio.lowlevel.checkpoint()

            await listen(
                url, "i", TOKEN, on_frame=print, on_status=listening.status.append, sleep=sleep
            )
    assert listening.status[1].startswith("what came is not the WebSocket protocol; trying again")


# --- TLS ---


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def test_tls_works_with_a_trusted_certificate(
    authority: trustme.CA, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        listening = Listening()
        async with serving(closing(), server_tls) as url:
            await listening.run(url, count=1)
    assert listening.frames == ["{}"]


async def test_an_untrusted_certificate_stops_it(server_tls: ssl.SSLContext) -> None:
    async with serving(closing(), server_tls) as url:
        with pytest.raises(ListenRefused, match="certificate verify failed"):
            await Listening().run(url)


async def test_a_server_without_tls_is_told() -> None:
    listening = Listening()
    async with answering(None) as (url, _requests):
        with trio.CancelScope() as scope:

            def enough(text: str) -> None:
                listening.status.append(text)
                scope.cancel()

            await listening.run(url.replace("http:", "https:"), on_status=enough)
    assert listening.status[0].startswith("cannot reach https://127.0.0.1:")


async def test_cancelled_in_the_tls_handshake_it_closes_the_connection() -> None:
    hung_up = trio.Event()

    async def stay_silent(stream: trio.SocketStream) -> None:
        async with stream:
            assert await stream.receive_some()
            scope.cancel()
            with contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
            hung_up.set()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, stay_silent, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with trio.CancelScope() as scope:
            await Listening().run(f"https://127.0.0.1:{port}")
        with trio.fail_after(20):
            await hung_up.wait()
        nursery.cancel_scope.cancel()


# --- Waiting, on a virtual clock ---


async def test_a_silent_handshake_has_a_deadline(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _theirs = memory_stream_pair()

    async def open_stream(_server: Server) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    monkeypatch.setattr(client, "_open_stream", open_stream)
    listening = Listening()
    with trio.CancelScope() as scope:

        def enough(text: str) -> None:
            listening.status.append(text)
            scope.cancel()

        await listening.run("http://a", on_status=enough)
    assert listening.status == ["the handshake took more than 10 s; trying again in 0.5 s"]
    assert trio.current_time() == pytest.approx(10)


async def test_a_lost_network_shows_as_silence(autojump_clock: trio.testing.MockClock) -> None:
    class Deaf:
        pings = 0

        async def ping(self) -> None:
            self.pings += 1
            await trio.sleep_forever()

    ours, theirs = memory_stream_pair()
    deaf: Any = Deaf()
    await client._keep_alive(deaf, client._WatchedStream(ours))
    assert (trio.current_time(), deaf.pings) == (120, 2)
    assert await theirs.receive_some() == b""


async def test_any_byte_keeps_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    class Slow:
        async def ping(self) -> None:
            if trio.current_time() > 600:
                raise trio_websocket.ConnectionClosed(None)
            stream.heard_at = trio.current_time()
            await trio.sleep_forever()

    stream = client._WatchedStream(memory_stream_pair()[0])
    slow: Any = Slow()
    await client._keep_alive(slow, stream)
    assert trio.current_time() > 600


async def test_the_watched_stream_is_a_stream_like_others() -> None:
    async def pair() -> tuple[client._WatchedStream, client._WatchedStream]:
        await trio.lowlevel.checkpoint()
        streams = [client._WatchedStream(each) for each in memory_stream_pair()]
        for stream in streams:
            stream._status_line = b"HTTP/1.1 101"
        return streams[0], streams[1]

    await trio.testing.check_two_way_stream(pair, None)


# --- Plain requests ---


async def in_thread(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with trio.fail_after(20):
        return await trio.to_thread.run_sync(partial(function, *args, **options))


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_publish_sends_the_data_byte_for_byte() -> None:
    data = b'{ "price": 1.10, "text":\n"\xc3\xa9" }'
    async with answering(answer(202, b'{"success":true,"published":1}')) as (url, requests):
        result = await in_thread(publish, url, "orders", f" {TOKEN}\n", "call.update", data)
    assert result == {"success": True, "published": 1}
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert body == b'{"event":"call.update","data":%b}' % data
    assert head.startswith(b"POST /api/events/publish/orders HTTP/1.1\r\n")
    assert f"token: {TOKEN}\r\n".encode() in head + b"\r\n"
    assert b"Content-Type: application/json" in head


@pytest.mark.parametrize(
    ("reply", "message", "status"),
    [
        (refusing(401, "Invalid token"), "Invalid token (HTTP 401)", 401),
        (answer(502, b"<html>"), "Bad Gateway (HTTP 502)", 502),
        (answer(302, b""), "Found (HTTP 302)", 302),
        (answer(200, b"<html>"), "the answer is not ours: is this a ryze server? (HTTP 200)", 200),
        (answer(200, b"[]"), "the answer is not ours: is this a ryze server? (HTTP 200)", 200),
    ],
)
async def test_failures_carry_the_message_of_the_server(
    reply: bytes, message: str, status: int
) -> None:
    async with answering(reply) as (url, _requests):
        with pytest.raises(RequestFailed) as caught:
            await in_thread(publish, url, "orders", TOKEN, "call.update", b"{}")
    assert (str(caught.value), caught.value.status) == (message, status)


@pytest.mark.parametrize("reply", [None, b"", b"nonsense\r\n\r\n"])
async def test_a_server_that_speaks_no_http_is_told(reply: bytes | None) -> None:
    async with answering(reply) as (url, _requests):
        with pytest.raises(RequestFailed, match=r"^cannot reach http://127\.0\.0\.1"):
            await in_thread(request, "GET", url, ["health"], token=TOKEN)


async def test_an_early_answer_to_a_large_body_is_heard() -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(1000)
            await stream.send_all(refusing(413, "Request body too large"))
            await stream.send_eof()
            # Reads on a little, as servers do, so that the answer is not lost in a reset.
            with trio.move_on_after(5):
                while await stream.receive_some():
                    pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        with pytest.raises(RequestFailed, match="Request body too large"):
            await in_thread(publish, url, "i", TOKEN, "call.update", b'{"a":"%b"}' % (b"x" * 10**7))
        nursery.cancel_scope.cancel()


async def test_nobody_there_is_told_in_one_line() -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(RequestFailed, match=f"^cannot reach {url}: Connection refused$"):
            await in_thread(publish, url, "orders", TOKEN, "call.update", b"{}")


async def test_requests_use_tls_where_the_address_says_so(server_tls: ssl.SSLContext) -> None:
    async with serving(closing(), server_tls) as url:
        with pytest.raises(RequestFailed, match="certificate verify failed"):
            await in_thread(request, "GET", url, ["health"], token=TOKEN)


@pytest.mark.parametrize("token", ["", " ", "two words", "schlüssel", "a\r\nb: c"])
def test_a_token_that_cannot_be_sent_is_told(token: str) -> None:
    with pytest.raises(BadToken):
        request("GET", "http://127.0.0.1:1", [], token=token)


def test_an_error_without_words_shows_its_name() -> None:
    group = ExceptionGroup("all failed", [ValueError()])
    assert client._cannot_reach(Server.at("http://a"), group) == "cannot reach http://a: ValueError"
