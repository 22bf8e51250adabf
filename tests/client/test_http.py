"""Plain requests, to real servers."""

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from ryze.client import RequestFailed, publish, request
from tests.client.harness import TOKEN, answering, closing, nobody, refusing, serving, serving_tcp


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

    async with serving_tcp(refuse) as url:
        with pytest.raises(RequestFailed, match="Request body too large"):
            await in_thread(publish, url, "i", TOKEN, "call.update", b'{"a":"%b"}' % (b"x" * 10**7))


async def test_nobody_there_is_told_in_one_line() -> None:
    async with nobody() as url:
        with pytest.raises(RequestFailed, match=f"^cannot reach {url}: Connection refused$"):
            await in_thread(publish, url, "orders", TOKEN, "call.update", b"{}")


async def test_requests_use_tls_where_the_address_says_so(server_tls: ssl.SSLContext) -> None:
    async with serving(closing(), server_tls) as url:
        with pytest.raises(RequestFailed, match="certificate verify failed"):
            await in_thread(request, "GET", url, ["health"], token=TOKEN)
