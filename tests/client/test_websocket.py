"""One connection: servers that disconnect, are silent, or are not ours; TLS; deadlines."""

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

from ryze.client import (
    ConnectionEnded,
    ConnectionOutcome,
    ListenRefused,
    ServerAddress,
    open_connection,
    websocket,
)
from tests.client.harness import (
    TOKEN,
    RecordedListen,
    closing_with,
    refusal,
    serving_responses,
    serving_tcp,
    serving_websocket,
    unused_address,
)


async def test_large_frames_are_received() -> None:
    large = json.dumps({"data": "x" * 3_000_000})

    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.send_message(large)
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await connection.get_message()

    recorded = RecordedListen()
    async with serving_websocket(handler) as url:
        await recorded.run(url, count=1)
    assert recorded.frames == [large]


async def test_a_ping_gets_a_pong() -> None:
    ponged = trio.Event()

    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.ping(b"payload")
        ponged.set()
        await connection.aclose()

    async with serving_websocket(handler) as url:
        await RecordedListen().run(url)
    assert ponged.is_set()


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (None, "the server closed the connection without a response"),
        (b"", "the server closed the connection without a response"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the server does not speak the WebSocket protocol"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "Bad Gateway (HTTP 502)"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", "Bad Gateway (HTTP 502)"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "Bad Gateway (HTTP 502)"),
    ],
)
async def test_reconnects_to_a_server_that_is_not_ours(response: bytes | None, text: str) -> None:
    recorded = RecordedListen()
    async with serving_responses(response, refusal(404, "")) as (url, _requests):
        with pytest.raises(ListenRefused, match=r"^Not Found \(HTTP 404\)$"):
            await recorded.run(url)
    assert len(recorded.status) == 1
    assert recorded.status[0].startswith(text)
    assert recorded.pauses == [0.5]


async def test_an_unreachable_server_is_reported() -> None:
    recorded = RecordedListen()
    async with unused_address() as url:
        await recorded.run_until_status(url)
    assert f"cannot reach {url}: Connection refused" in recorded.status[0]
    assert "0.5 s" in recorded.status[0]


async def test_cancelling_performs_the_closing_handshake() -> None:
    codes: list[int] = []
    closed = trio.Event()

    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.send_message("{}")
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await connection.get_message()
        assert connection.closed
        codes.append(connection.closed.code)
        closed.set()

    async with serving_websocket(handler) as url:
        with trio.CancelScope() as scope:
            await RecordedListen().run(url, on_frame=lambda _frame: scope.cancel())
        assert scope.cancelled_caught
        with trio.fail_after(20):
            await closed.wait()
    assert codes == [1000]


async def test_end_without_a_close_frame_is_1006() -> None:
    async with serving_websocket(closing_with()) as url:
        with pytest.raises(ConnectionEnded) as caught:
            async with open_connection(url, ("ws", "orders"), TOKEN):
                raise trio_websocket.ConnectionClosed(None)
    assert caught.value.outcome == ConnectionOutcome(1006)


# --- TLS ---


async def test_connects_with_a_trusted_certificate(
    authority: trustme.CA, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        recorded = RecordedListen()
        async with serving_websocket(closing_with(), server_tls) as url:
            await recorded.run(url, count=1)
    assert recorded.frames == ["{}"]


async def test_gives_up_with_an_untrusted_certificate(server_tls: ssl.SSLContext) -> None:
    async with serving_websocket(closing_with(), server_tls) as url:
        with pytest.raises(ListenRefused, match="certificate verify failed"):
            await RecordedListen().run(url)


async def test_a_server_without_tls_is_reported() -> None:
    recorded = RecordedListen()
    async with serving_responses(None) as (url, _requests):
        await recorded.run_until_status(url.replace("http:", "https:"))
    assert recorded.status[0].startswith("cannot reach https://127.0.0.1:")


async def test_cancelling_the_tls_handshake_closes_the_connection() -> None:
    closed = trio.Event()

    async def stay_silent(stream: trio.SocketStream) -> None:
        async with stream:
            assert await stream.receive_some()
            scope.cancel()
            with contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
            closed.set()

    async with serving_tcp(stay_silent) as url:
        with trio.CancelScope() as scope:
            await RecordedListen().run(url.replace("http:", "https:"))
        with trio.fail_after(20):
            await closed.wait()


# --- Timeouts, on a virtual clock ---


async def test_the_handshake_has_a_deadline(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _theirs = memory_stream_pair()

    async def open_stream(_address: ServerAddress) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    monkeypatch.setattr(websocket, "_open_stream", open_stream)
    recorded = RecordedListen()
    await recorded.run_until_status("http://a")
    assert "the handshake took more than 10 s" in recorded.status[0]
    assert trio.current_time() == pytest.approx(10)


async def test_connection_is_aborted_after_a_long_silence(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Silent:
        pings = 0

        async def ping(self) -> None:
            self.pings += 1
            await trio.sleep_forever()

    ours, theirs = memory_stream_pair()
    silent: Any = Silent()
    await websocket._keep_alive(silent, websocket._WatchedStream(ours))
    assert (trio.current_time(), silent.pings) == (120, 2)
    assert await theirs.receive_some() == b""


async def test_any_byte_keeps_a_connection_alive(autojump_clock: trio.testing.MockClock) -> None:
    class Slow:
        async def ping(self) -> None:
            if trio.current_time() > 600:
                raise trio_websocket.ConnectionClosed(None)
            stream.received_at = trio.current_time()
            await trio.sleep_forever()

    stream = websocket._WatchedStream(memory_stream_pair()[0])
    slow: Any = Slow()
    await websocket._keep_alive(slow, stream)
    assert trio.current_time() > 600


async def test_the_watched_stream_fulfils_the_stream_contract() -> None:
    async def pair() -> tuple[websocket._WatchedStream, websocket._WatchedStream]:
        await trio.lowlevel.checkpoint()
        streams = [websocket._WatchedStream(each) for each in memory_stream_pair()]
        for stream in streams:
            stream._status_line = b"HTTP/1.1 101"
        return streams[0], streams[1]

    await trio.testing.check_two_way_stream(pair, None)
