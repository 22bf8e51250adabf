"""Listening, to real servers: what is received, and which ends it survives."""

import contextlib
from typing import Any

import pytest
import trio
import trio_websocket
from trio_websocket import WebSocketConnection, WebSocketRequest
from wsproto.utilities import LocalProtocolError

from ryze.client import BadToken, BadUrl, ListenRefused, listen
from tests.client.harness import TOKEN, Listening, answering, closing, refusing, serving


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


async def test_what_on_frame_raises_comes_out_bare() -> None:
    def full(_frame: str) -> None:
        raise BrokenPipeError

    async with serving(closing()) as url:
        with pytest.raises(BrokenPipeError):
            await Listening().run(url, on_frame=full)


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
    assert listening.status[1].startswith(
        "the server does not speak the WebSocket protocol; trying again"
    )
