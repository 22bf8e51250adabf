"""A peer that closes its end as soon as it has sent its request (``nc -N``) is answered."""

import trio

from tests.conftest import ACCOUNT_TOKEN as TOKEN
from tests.conftest import Server


async def test_a_whole_request_is_answered_after_the_peer_has_closed_its_end(
    server: Server,
) -> None:
    async with await trio.open_tcp_stream(*server.address) as stream:
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: ryze\r\n\r\n")
        await stream.send_eof()
        answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_an_incomplete_request_is_not_waited_for(server: Server) -> None:
    async with await trio.open_tcp_stream(*server.address) as stream:
        head = b"POST /api/instance/new HTTP/1.1\r\nHost: ryze\r\nContent-Length: 9\r\n"
        token = f"token: {TOKEN}\r\nContent-Type: application/json\r\n\r\n".encode()
        await stream.send_all(head + token + b"{")
        await stream.send_eof()
        answer = b"".join([chunk async for chunk in stream])
    assert answer == b""
