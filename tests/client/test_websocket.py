"""One connection: servers that hang up, are silent, or are not ours; TLS; deadlines."""

import contextlib
import json
import ssl
from typing import Any

import pytest
import trio
import trio_websocket
import trustme
from trio.testing import memory_stream_pair
from trio_websocket import WebSocketRequest

from ryze.client import ConnectionOutcome, ListenRefused, Server
from ryze.client import websocket as connecting
from tests.client.harness import (
    Listening,
    answering,
    closing,
    nobody,
    refusing,
    serving,
    serving_tcp,
)


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


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "the server closed the connection without a response"),
        (b"", "the server closed the connection without a response"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the server does not speak the WebSocket protocol"),
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


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    listening = Listening()
    async with nobody() as url:
        await listening.run_until_status(url)
    assert listening.status == [f"cannot reach {url}: Connection refused; trying again in 0.5 s"]


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


def test_an_end_without_a_reason_is_an_abnormal_one() -> None:
    assert connecting._outcome_of_close(None) == ConnectionOutcome(1006)


# --- TLS ---


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
        await listening.run_until_status(url.replace("http:", "https:"))
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

    async with serving_tcp(stay_silent) as url:
        with trio.CancelScope() as scope:
            await Listening().run(url.replace("http:", "https:"))
        with trio.fail_after(20):
            await hung_up.wait()


# --- Waiting, on a virtual clock ---


async def test_a_silent_handshake_has_a_deadline(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _theirs = memory_stream_pair()

    async def open_stream(_server: Server) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    monkeypatch.setattr(connecting, "_open_stream", open_stream)
    listening = Listening()
    await listening.run_until_status("http://a")
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
    await connecting._keep_alive(deaf, connecting._WatchedStream(ours))
    assert (trio.current_time(), deaf.pings) == (120, 2)
    assert await theirs.receive_some() == b""


async def test_any_byte_keeps_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    class Slow:
        async def ping(self) -> None:
            if trio.current_time() > 600:
                raise trio_websocket.ConnectionClosed(None)
            stream.heard_at = trio.current_time()
            await trio.sleep_forever()

    stream = connecting._WatchedStream(memory_stream_pair()[0])
    slow: Any = Slow()
    await connecting._keep_alive(slow, stream)
    assert trio.current_time() > 600


async def test_the_watched_stream_is_a_stream_like_others() -> None:
    async def pair() -> tuple[connecting._WatchedStream, connecting._WatchedStream]:
        await trio.lowlevel.checkpoint()
        streams = [connecting._WatchedStream(each) for each in memory_stream_pair()]
        for stream in streams:
            stream._status_line = b"HTTP/1.1 101"
        return streams[0], streams[1]

    await trio.testing.check_two_way_stream(pair, None)
