"""`listen` with real servers: frames, reconnects, refusals."""

import contextlib
from typing import Any

import pytest
import trio
import trio_websocket
from trio_websocket import WebSocketConnection, WebSocketRequest
from wsproto.utilities import LocalProtocolError

from ryze.client import BadToken, BadUrl, ListenRefused, listen
from tests.client.harness import (
    TOKEN,
    RecordedListen,
    closing_with,
    refusal,
    serving_responses,
    serving_websocket,
)


async def test_frames_are_received_up_to_count() -> None:
    requests: list[WebSocketRequest] = []

    async def handler(request: WebSocketRequest) -> None:
        requests.append(request)
        connection = await request.accept()
        await connection.send_message('{"n": 1}')
        await connection.send_message(b'{"n": 2}')
        await connection.send_message('{"n": 3}')
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await connection.get_message()

    recorded = RecordedListen()
    async with serving_websocket(handler) as url:
        await recorded.run(url, count=2)
    assert recorded.frames == ['{"n": 1}', '{"n": 2}']
    assert url in recorded.status[0]
    assert requests[0].path == "/ws/orders"
    assert (b"token", TOKEN.encode()) in requests[0].headers


async def test_close_code_1000_ends_the_subscription() -> None:
    recorded = RecordedListen()
    async with serving_websocket(closing_with(1000, reason="bye")) as url:
        await recorded.run(url)
    assert recorded.pauses == []
    assert "bye (close code 1000)" in recorded.status[-1]


async def test_reconnects_after_codes_that_advise_it() -> None:
    recorded = RecordedListen()
    async with serving_websocket(closing_with(1001, 1011, 1012, 4008)) as url:
        await recorded.run(url, count=3)
    assert recorded.pauses == [0.5, 1, 2, 2]
    assert recorded.frames == ["{}"] * 3
    assert "close code 1001" in recorded.status[1]
    assert "0.5 s" in recorded.status[1]


@pytest.mark.parametrize("code", [1002, 1007, 1009, 4501, 4504])
async def test_gives_up_after_codes_that_advise_it(code: int) -> None:
    recorded = RecordedListen()
    async with serving_websocket(closing_with(code, reason="stop\x1b[2J\nit")) as url:
        with pytest.raises(ListenRefused, match=rf"^stop \[2J it \(close code {code}\)$"):
            await recorded.run(url)
    assert recorded.pauses == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
async def test_gives_up_after_a_refusal_with_the_message_of_the_server(status: int) -> None:
    async with serving_responses(refusal(status, "Why not")) as (url, _requests):
        with pytest.raises(ListenRefused, match=rf"^Why not \(HTTP {status}\)$"):
            await RecordedListen().run(url)


async def test_waits_for_retry_after_of_a_429() -> None:
    recorded = RecordedListen()
    refusals = [
        refusal(429, "Rate limit exceeded. Try again later.", Retry_After="17"),
        refusal(503, "Server is shutting down"),
        refusal(429, "Rate limit exceeded. Try again later.", Retry_After="tomorrow"),
        refusal(404, "Instance not found"),
    ]
    async with serving_responses(*refusals) as (url, _requests):
        with pytest.raises(ListenRefused):
            await recorded.run(url)
    assert recorded.pauses == [17, 0.5, 1]
    assert "Rate limit exceeded. Try again later. (HTTP 429)" in recorded.status[0]
    assert "17.0 s" in recorded.status[0]


async def test_reconnects_after_a_lost_connection() -> None:
    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection._stream.aclose()

    recorded = RecordedListen()
    async with serving_websocket(handler) as url, trio.open_nursery() as nursery:

        def stop(text: str) -> None:
            recorded.status.append(text)
            if len(recorded.status) == 4:
                nursery.cancel_scope.cancel()

        await recorded.run(url, on_status=stop)
    for line, pause in zip(recorded.status[1::2], ("0.5 s", "1.0 s"), strict=True):
        assert "connection lost" in line
        assert pause in line


async def test_exceptions_of_on_frame_are_raised_bare() -> None:
    def fail(_frame: str) -> None:
        raise BrokenPipeError

    async with serving_websocket(closing_with()) as url:
        with pytest.raises(BrokenPipeError):
            await RecordedListen().run(url, on_frame=fail)


async def test_token_and_url_are_checked_before_connecting() -> None:
    nothing: Any = None
    with pytest.raises(BadToken):
        await listen("http://a", "i", "two words", on_frame=nothing, on_status=nothing)
    with pytest.raises(BadUrl):
        await listen("a", "i", TOKEN, on_frame=nothing, on_status=nothing)


async def test_reconnects_after_a_protocol_violation_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(_connection: WebSocketConnection) -> str:
        await trio.lowlevel.checkpoint()
        raise LocalProtocolError("fault")

    monkeypatch.setattr(WebSocketConnection, "get_message", fail)
    recorded = RecordedListen()
    async with serving_websocket(closing_with()) as url:
        with trio.CancelScope() as scope:

            async def sleep(_seconds: float) -> None:
                scope.cancel()
                await trio.lowlevel.checkpoint()

            await listen(
                url, "i", TOKEN, on_frame=print, on_status=recorded.status.append, sleep=sleep
            )
    assert "does not speak the WebSocket protocol" in recorded.status[1]
