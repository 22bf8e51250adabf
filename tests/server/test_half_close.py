"""Peers that close their end right after the request (``nc -N``)."""

import trio

from tests.conftest import ACCOUNT_TOKEN as TOKEN
from tests.conftest import Server


async def test_complete_request_of_a_half_closed_peer_gets_a_response(
    server: Server,
) -> None:
    async with await trio.open_tcp_stream(*server.address) as stream:
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: ryze\r\n\r\n")
        await stream.send_eof()
        response = b"".join([chunk async for chunk in stream])
    assert response.startswith(b"HTTP/1.1 200 ")


async def test_incomplete_request_of_a_half_closed_peer_ends_the_connection(server: Server) -> None:
    async with await trio.open_tcp_stream(*server.address) as stream:
        head = b"POST /api/instance/new HTTP/1.1\r\nHost: ryze\r\nContent-Length: 9\r\n"
        token = f"token: {TOKEN}\r\nContent-Type: application/json\r\n\r\n".encode()
        await stream.send_all(head + token + b"{")
        await stream.send_eof()
        response = b"".join([chunk async for chunk in stream])
    assert response == b""
