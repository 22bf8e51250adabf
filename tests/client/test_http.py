"""Plain HTTP requests, to real servers."""

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from ryze.client import RequestFailed, publish, request
from tests.client.harness import (
    TOKEN,
    closing_with,
    refusal,
    serving_responses,
    serving_tcp,
    serving_websocket,
    unused_address,
)

NOT_OURS = "expected a JSON object as response: is this a Ryze server? (HTTP 200)"


async def in_thread(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with trio.fail_after(20):
        return await trio.to_thread.run_sync(partial(function, *args, **options))


def response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_publish_sends_data_byte_for_byte() -> None:
    data = b'{ "price": 1.10, "text":\n"\xc3\xa9" }'
    async with serving_responses(response(202, b'{"success":true,"published":1}')) as (
        url,
        requests,
    ):
        result = await in_thread(publish, url, "orders", f" {TOKEN}\n", "call.update", data)
    assert result == {"success": True, "published": 1}
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert body == b'{"event":"call.update","data":%b}' % data
    assert head.startswith(b"POST /api/events/publish/orders HTTP/1.1\r\n")
    assert f"token: {TOKEN}\r\n".encode() in head + b"\r\n"
    assert b"Content-Type: application/json" in head


@pytest.mark.parametrize(
    ("content", "message", "status"),
    [
        (refusal(401, "Invalid token"), "Invalid token (HTTP 401)", 401),
        (response(502, b"<html>"), "Bad Gateway (HTTP 502)", 502),
        (response(302, b""), "Found (HTTP 302)", 302),
        (response(200, b"<html>"), NOT_OURS, 200),
        (response(200, b"[]"), NOT_OURS, 200),
    ],
)
async def test_failures_carry_the_message_of_the_server(
    content: bytes, message: str, status: int
) -> None:
    async with serving_responses(content) as (url, _requests):
        with pytest.raises(RequestFailed) as caught:
            await in_thread(publish, url, "orders", TOKEN, "call.update", b"{}")
    assert (str(caught.value), caught.value.status) == (message, status)


@pytest.mark.parametrize("content", [None, b"", b"nonsense\r\n\r\n"])
async def test_a_server_that_does_not_speak_http_is_reported(content: bytes | None) -> None:
    async with serving_responses(content) as (url, _requests):
        with pytest.raises(RequestFailed, match=r"^cannot reach http://127\.0\.0\.1"):
            await in_thread(request, "GET", url, ["health"], token=TOKEN)


async def test_early_refusal_of_a_large_body_is_read() -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(1000)
            await stream.send_all(refusal(413, "Request body too large"))
            await stream.send_eof()
            # Reads on for a while, as servers do: a reset would discard the response.
            with trio.move_on_after(5):
                while await stream.receive_some():
                    pass

    async with serving_tcp(refuse) as url:
        with pytest.raises(RequestFailed, match="Request body too large"):
            await in_thread(publish, url, "i", TOKEN, "call.update", b'{"a":"%b"}' % (b"x" * 10**7))


async def test_an_unreachable_server_is_reported_in_one_line() -> None:
    async with unused_address() as url:
        with pytest.raises(RequestFailed, match=f"^cannot reach {url}: Connection refused$"):
            await in_thread(publish, url, "orders", TOKEN, "call.update", b"{}")


async def test_https_urls_use_tls(server_tls: ssl.SSLContext) -> None:
    async with serving_websocket(closing_with(), server_tls) as url:
        with pytest.raises(RequestFailed, match="certificate verify failed"):
            await in_thread(request, "GET", url, ["health"], token=TOKEN)
