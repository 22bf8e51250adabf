"""One HTTP connection: keep-alive, pipelining, upgrade to WebSocket, request smuggling."""

import random
import socket
import struct
from collections.abc import MutableMapping
from typing import Any

import pytest
import trio
from quart import Response
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import Ping, Pong

from ryze.api.authorization import Scope, requires
from tests.clients import UPGRADE, RawClient, WebSocketClient, chunked, request_bytes
from tests.conftest import ACCOUNT_TOKEN, JSON, Server, StartServer, until

TOKEN = {"token": ACCOUNT_TOKEN}
LIST = request_bytes("GET", "/api/instance/list", TOKEN)
CONNECT = request_bytes("GET", "/ws/demo", {**TOKEN, **UPGRADE})
PUBLISH = "/api/events/publish/demo"
EVENT = b'{"event":"call.update","data":{"n":1}}'


def post(body: bytes, headers: dict[str, str] | None = None, path: str = PUBLISH) -> bytes:
    return request_bytes("POST", path, {**TOKEN, **JSON, **(headers or {})}, body)


class TestUpgrade:
    async def test_upgrade_after_several_requests(self, server: Server, demo: str) -> None:
        client = await server.open()
        for _ in range(3):
            assert (await client.request("GET", "/api/instance/list", TOKEN)).status == 200
            await client.send(post(EVENT))
            assert (await client.read_response()).status == 202
        await client.send(CONNECT)
        ws = WebSocketClient(client, await client.read_response())
        assert ws.response.rate_limit == (100, 96)
        assert (await server.publish({"n": 2})).json["clients"] == 1
        assert await ws.data() == {"n": 2}
        assert server.websockets.connections == 1

    async def test_upgrade_pipelined_after_requests(self, server: Server, demo: str) -> None:
        client = await server.open()
        await client.send(LIST + post(EVENT) + post(chunked(EVENT, 5), CHUNKED) + CONNECT)
        assert [(await client.read_response()).status for _ in range(3)] == [200, 202, 202]
        ws = WebSocketClient(client, await client.read_response())
        await server.publish({"n": 2})
        assert await ws.data() == {"n": 2}

    @pytest.mark.parametrize("before", [b"", LIST], ids=["fresh", "pipelined"])
    async def test_frames_sent_with_the_upgrade_are_not_lost(
        self, server: Server, demo: str, before: bytes
    ) -> None:
        client = await server.open()
        ping = bytes([0x89, 0x82, 0, 0, 0, 0]) + b"hi"
        await client.send(before + CONNECT + ping)
        if before:
            assert (await client.read_response()).status == 200
        ws = WebSocketClient(client, await client.read_response())
        event = await ws.next_event()
        assert isinstance(event, Pong)
        assert event.payload == b"hi"

    async def test_refusal_ends_the_connection(self, server: Server, demo: str) -> None:
        client = await server.open()
        await client.send(LIST + request_bytes("GET", "/ws/nobody", {**TOKEN, **UPGRADE}) + LIST)
        assert (await client.read_response()).status == 200
        response = await client.read_response()
        assert response.error == (404, "Instance not found")
        assert response.headers["connection"] == "close"
        assert await client.rest() == b""

    async def test_idle_time_before_the_upgrade_does_not_count(
        self, server: Server, demo: str, mock_clock: MockClock
    ) -> None:
        client = await server.open()
        await client.request("GET", "/health")
        await wait_all_tasks_blocked()
        mock_clock.jump(60)
        ws = WebSocketClient(client, await client.request("GET", "/ws/demo", {**TOKEN, **UPGRADE}))
        await wait_all_tasks_blocked()
        mock_clock.jump(20)
        assert not await ws.closed_by_now()

    async def test_upgrade_in_single_bytes(self, server: Server, demo: str) -> None:
        """On a kept-alive connection; test_dispatcher.py has the same for a fresh one."""
        client = await server.open()
        await client.request("GET", "/health")
        for byte in CONNECT:
            await client.send(bytes([byte]))
            await trio.lowlevel.checkpoint()
        ws = WebSocketClient(client, await client.read_response())
        await ws.send(Ping())


CHUNKED = {"Transfer-Encoding": "chunked"}


class TestSmuggling:
    """Bytes of a body are never read as a request."""

    @pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 50, 100_000])
    @pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
    async def test_body_that_looks_like_an_upgrade(
        self, server: Server, demo: str, size: int, is_chunked: bool
    ) -> None:
        data = post(chunked(CONNECT, 11), CHUNKED) if is_chunked else post(CONNECT)
        client = await server.open()
        for start in range(0, len(data), size):
            await client.send(data[start : start + size])
            await wait_all_tasks_blocked()
        assert (await client.read_response()).error == (400, "Invalid request body")
        assert (await client.request("GET", "/api/instance/list", TOKEN)).status == 200
        assert server.websockets.connections == 0

    @pytest.mark.parametrize("cut", ["head", "body", "none"])
    async def test_body_of_a_refused_request(self, server: Server, demo: str, cut: str) -> None:
        """The response is sent before the body is read; the rest of the body is discarded."""
        head = request_bytes("POST", PUBLISH, {**JSON, "Content-Length": str(len(CONNECT) + 5)})
        body = b"12345" + CONNECT
        at = {"head": len(head), "body": len(head) + 5, "none": len(head + body)}[cut]
        client = await server.open()
        await client.send((head + body)[:at])
        assert (await client.read_response()).error == (401, "Invalid token")
        await client.send((head + body)[at:])
        await client.stream.send_eof()  # type: ignore[attr-defined]
        assert await client.rest() == b""
        assert server.websockets.connections == 0

    @pytest.mark.parametrize("path", ["/health", "/api/instance/list", "/nowhere"])
    async def test_body_of_a_get(self, server: Server, demo: str, path: str) -> None:
        client = await server.open()
        await client.send(request_bytes("GET", path, TOKEN, CONNECT))
        await client.read_response()
        await client.stream.send_eof()  # type: ignore[attr-defined]
        assert await client.rest() == b""
        assert server.websockets.connections == 0

    async def test_content_length_with_chunked_encoding_is_a_400(
        self, server: Server, demo: str
    ) -> None:
        client = await server.open()
        both = {"Content-Length": str(len(CONNECT) + 5), **CHUNKED}
        await client.send(post(b"0\r\n\r\n" + CONNECT, both))
        # RFC 9112, section 6.1: a proxy in between may believe the other length.
        assert (await client.read_response()).error == (400, "Bad request")
        assert await client.rest() == b""
        assert server.websockets.connections == 0

    @pytest.mark.parametrize(
        "wrong",
        [
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: +5\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length : 5\r\n",
            b"Content-Length: 5, 6\r\n",
            b"Transfer-Encoding: chunked, gzip\r\n",
            b"Transfer-Encoding: xchunked\r\n",
        ],
    )
    async def test_ambiguous_length_is_refused(
        self, server: Server, demo: str, wrong: bytes
    ) -> None:
        client = await server.open()
        head = request_bytes("POST", PUBLISH, {**TOKEN, **JSON})[:-2]
        await client.send(head + wrong + b"\r\n" + CONNECT)
        response = await client.read_response()
        assert response.status in (400, 501)
        assert response.error
        assert b"101" not in await client.rest()
        assert server.websockets.connections == 0

    async def test_upgrade_headers_on_a_post_are_ignored(self, server: Server, demo: str) -> None:
        client = await server.open()
        await client.send(post(EVENT, dict(UPGRADE)) + LIST)
        assert (await client.read_response()).status == 202
        assert (await client.read_response()).status == 200


class TestNoHttp2:
    async def test_upgrade_to_h2c_is_ignored(self, server: Server) -> None:
        headers = {
            "Upgrade": "h2c",
            "Connection": "Upgrade, HTTP2-Settings",
            "HTTP2-Settings": "AAMAAABkAAQAAP__",
        }
        client = await server.open()
        response = await client.request("GET", "/health", headers)
        assert (response.status, response.json["status"]) == (200, "ok")
        assert "upgrade" not in response.headers
        assert (await client.request("GET", "/health")).status == 200

    async def test_prior_knowledge_is_refused(self, server: Server) -> None:
        client = await server.open()
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        response = await client.read_response()
        assert response.error == (404, "Not found")
        assert (await client.read_response()).error == (400, "Bad request")
        assert await client.rest() == b""


class TestEarlyResponses:
    """Responses before the end of the body; many clients read only after sending all of it."""

    @pytest.mark.parametrize(
        ("path", "token", "status"),
        [(PUBLISH, "wrong", 401), (PUBLISH, ACCOUNT_TOKEN, 413), ("/nowhere", "", 404)],
    )
    @pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
    async def test_early_response_is_readable(
        self,
        start_server: StartServer,
        mock_clock: MockClock,
        path: str,
        token: str,
        status: int,
        is_chunked: bool,
    ) -> None:
        server = await start_server(max_body_bytes=100_000)
        await server.create()
        body = b"x" * 8_000_000
        data = (
            post(chunked(body, 50_000), {**CHUNKED, "token": token}, path)
            if is_chunked
            else post(body, {"token": token}, path)
        )
        client = await server.open()
        await client.send(data)
        response = await client.read_response()
        assert response.error[0] == status
        await client.stream.send_eof()  # type: ignore[attr-defined]
        assert await client.rest() == b""

    async def test_rest_of_the_body_is_read_for_two_seconds(
        self, server: Server, mock_clock: MockClock
    ) -> None:
        client = await server.open()
        await client.send(request_bytes("POST", PUBLISH, {"Content-Length": "1000"}))
        assert (await client.read_response()).status == 401
        await wait_all_tasks_blocked()
        mock_clock.jump(1.9)
        await client.send(b"x")
        await wait_all_tasks_blocked()
        assert len(server.http_connections()) == 1
        mock_clock.jump(0.1)
        await wait_all_tasks_blocked()
        assert len(server.http_connections()) == 0

    async def test_413_is_sent_before_the_body(self, server: Server, demo: str) -> None:
        headers = {**TOKEN, **JSON, "Content-Length": str(10**12)}
        response = await server.raw(request_bytes("POST", PUBLISH, headers))
        assert response.error == (413, "Request body too large")

    async def test_expect_100_continue(self, server: Server, demo: str) -> None:
        headers = {**TOKEN, **JSON, "Content-Length": str(len(EVENT)), "Expect": "100-continue"}
        client = await server.open()
        await client.send(request_bytes("POST", PUBLISH, headers))
        await wait_all_tasks_blocked()
        await client.send(EVENT)
        assert (await client.read_response()).status == 202


GARBAGE = b"\0" + random.Random(0).randbytes(500_000)


class TestInvalidRequests:
    @pytest.mark.parametrize(
        "garbage",
        [
            b"\0",
            b"\r\n\r\n\r\n",
            b"hello\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET /health\r\n\r\n",
            b"GET /health HTTP/1.1\r\n\r\n",
            b"GET /h\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nx\0y: 1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
            GARBAGE,
        ],
        ids=range(11),
    )
    @pytest.mark.parametrize("before", [b"", LIST], ids=["first", "kept alive"])
    async def test_garbage_is_a_400_in_the_error_shape(
        self, server: Server, mock_clock: MockClock, before: bytes, garbage: bytes
    ) -> None:
        client = await server.open()
        await client.send(before + garbage)
        if before:
            assert (await client.read_response()).status == 200
        if garbage == b"\0":
            await client.stream.send_eof()  # type: ignore[attr-defined]
        response = await client.read_response()
        assert response.error == (400, "Bad request")
        assert response.headers["connection"] == "close"
        assert await client.rest() == b""

    @pytest.mark.parametrize("path", ["/health", "/ws/demo"])
    @pytest.mark.parametrize("size", [100_000, 1_000_000])
    @pytest.mark.parametrize("before", [b"", LIST], ids=["first", "kept alive"])
    async def test_oversized_head_is_a_431(
        self, server: Server, mock_clock: MockClock, path: str, size: int, before: bytes
    ) -> None:
        client = await server.open()
        await client.send(before + request_bytes("GET", path, {"x": "y" * size}))
        if before:
            assert (await client.read_response()).status == 200
        assert (await client.read_response()).error == (431, "Request header fields too large")
        assert await client.rest() == b""

    async def test_http_1_0(self, server: Server) -> None:
        client = await server.open()
        await client.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert (await client.read_response()).status == 200
        assert await client.rest() == b""


class TestDeadlines:
    async def test_idle_connections_are_closed(self, server: Server, mock_clock: MockClock) -> None:
        client = await server.open()
        for _ in range(2):
            await client.request("GET", "/health")
            await wait_all_tasks_blocked()
            mock_clock.jump(64.9)
        await wait_all_tasks_blocked()
        assert len(server.http_connections()) == 1
        mock_clock.jump(0.1)
        assert await client.rest() == b""

    async def test_later_request_heads_have_a_deadline_too(
        self, server: Server, mock_clock: MockClock
    ) -> None:
        client = await server.open()
        await client.request("GET", "/health")
        for byte in b"GET /heal":
            await client.send(bytes([byte]))
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        assert (await client.read_response()).error == (408, "Request timeout")
        assert await client.rest() == b""

    async def test_peer_that_does_not_read_is_aborted(self, start_server: StartServer) -> None:
        server = await start_server(body_timeout_seconds=0.05)

        @requires(Scope.OPEN)
        async def large() -> Response:
            return Response(b"x" * 50_000_000)

        server.app.view_functions["health.health"] = large
        client = await server.open()
        await client.send(request_bytes("GET", "/health"))
        await until(lambda: bool(server.http_connections()))
        await until(lambda: not server.http_connections())
        assert len(await client.rest()) < 50_000_000


class TestLostConnections:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"G",
            b"GET /ws/",
            b"POST",
            CONNECT[:-1],
            LIST[:-1],
            LIST,
            post(EVENT)[:-1],
            post(chunked(EVENT, 10), CHUNKED)[:-3],
            LIST * 20,
        ],
        ids=range(10),
    )
    @pytest.mark.parametrize("how", ["end", "reset"])
    async def test_lost_connection_leaves_nothing_behind(
        self,
        server: Server,
        demo: str,
        logs: list[MutableMapping[str, Any]],
        caplog: pytest.LogCaptureFixture,
        data: bytes,
        how: str,
    ) -> None:
        client = await server.open()
        await client.send(data)
        if how == "reset":
            reset(client)
        await client.stream.aclose()
        await until(lambda: not server.http_connections())
        assert (await server.request("GET", "/health")).status == 200
        await wait_all_tasks_blocked()
        assert not [line for line in logs if line["log_level"] == "error"]
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


def reset(client: RawClient) -> None:
    stream = client.stream
    assert isinstance(stream, trio.SocketStream)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_lost_connection_cancels_the_handler(server: Server) -> None:
    cancelled = trio.Event()

    @requires(Scope.OPEN)
    async def slow() -> Response:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    server.app.view_functions["health.health"] = slow
    client = await server.open()
    await client.send(request_bytes("GET", "/health"))
    await wait_all_tasks_blocked()
    await client.stream.aclose()
    await cancelled.wait()


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
        token = f"token: {ACCOUNT_TOKEN}\r\nContent-Type: application/json\r\n\r\n".encode()
        await stream.send_all(head + token + b"{")
        await stream.send_eof()
        response = b"".join([chunk async for chunk in stream])
    assert response == b""
