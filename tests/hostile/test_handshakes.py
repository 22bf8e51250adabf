"""Hostile handshakes: slow, oversized, in masses, with guessed tokens, over a limit."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import limits
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.clients import UPGRADE, RawClient, WebSocketClient, request_bytes
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer, until

TOKEN = {"token": ACCOUNT_TOKEN}
CONNECT = request_bytes("GET", "/ws/demo", {**TOKEN, **UPGRADE})
HEALTH = request_bytes("GET", "/health")
TOO_MANY = (503, "Too many connections")


async def check_delivery(server: Server, client: WebSocketClient, number: int) -> None:
    """Check that a client that connected earlier still receives events."""
    assert (await server.publish({"n": number})).status == 202
    assert await client.data() == {"n": number}


class TestSlow:
    @pytest.mark.parametrize("data", [CONNECT, HEALTH], ids=["upgrade", "http"])
    async def test_hundred_clients_sending_one_byte_per_second_time_out(
        self, server: Server, demo: str, mock_clock: MockClock, data: bytes
    ) -> None:
        client = await server.connect()
        slow = [await server.open() for _ in range(100)]
        for second in range(10):
            for each in slow:
                await each.send(data[second : second + 1])
            await wait_all_tasks_blocked()
            await check_delivery(server, client, second)
            mock_clock.jump(1)
        for each in slow:
            assert (await each.read_response()).error == (408, "Request timeout")
            assert await each.rest() == b""

    async def test_silent_connections_are_evicted_when_descriptors_run_out(
        self, server: Server, demo: str, mock_clock: MockClock
    ) -> None:
        client = await server.connect()
        idle = await server.open()
        await idle.request("GET", "/health")
        silent = [await server.open() for _ in range(3)]
        await silent[1].send(b"G")
        await silent[2].send(CONNECT[:-1])
        await wait_all_tasks_blocked()
        mock_clock.jump(0.9)
        new_client = await server.open()
        await wait_all_tasks_blocked()
        mock_clock.jump(0.1)
        server.make_room()
        for each in (*silent, idle):
            assert await each.rest() in (b"", b"<reset>")
        # A new connection may be about to send its request.
        await new_client.send(CONNECT)
        assert (await new_client.read_response()).status == 101
        await check_delivery(server, client, 1)

    async def test_at_most_256_are_evicted_at_once(
        self, server: Server, mock_clock: MockClock
    ) -> None:
        silent = [await server.open() for _ in range(260)]
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        server.make_room()
        for each in silent[:256]:
            assert await each.rest() == b""
        for each in silent[256:]:
            await each.send(HEALTH)
            assert (await each.read_response()).status == 200


class TestLarge:
    @pytest.mark.parametrize("path", ["/health", "/ws/demo"])
    async def test_mebibyte_of_headers_is_refused_while_it_is_sent(
        self, server: Server, demo: str, path: str
    ) -> None:
        client = await server.connect()
        head = request_bytes("GET", path, {f"x-{n}": "y" * 1000 for n in range(1000)})
        for number in range(20):
            large = await server.open()
            with pytest.RaisesGroup(ResponseReceived, flatten_subgroups=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(large.send, head)
                    nursery.start_soon(
                        expect_error, large, (431, "Request header fields too large")
                    )
            await check_delivery(server, client, number)

    @pytest.mark.parametrize("path", ["/health", "/ws/demo"])
    async def test_header_limit_is_exact(self, start_server: StartServer, path: str) -> None:
        server = await start_server(max_header_bytes=4096)
        await server.create()
        other_bytes = len(request_bytes("GET", path, {**TOKEN, **UPGRADE, "x": ""}))
        for size, status in ((4096, 101 if "ws" in path else 200), (4097, 431)):
            fields = {**TOKEN, **UPGRADE, "x": "y" * (size - other_bytes)}
            response = await server.raw(request_bytes("GET", path, fields))
            assert response.status == status


class ResponseReceived(Exception):
    """The response came while the request was still being sent."""


async def expect_error(client: RawClient, error: tuple[int, str]) -> None:
    assert (await client.read_response()).error == error
    raise ResponseReceived


class TestShortConnections:
    """Many short connections leave no task behind; for memory see test_masses.py."""

    async def silent(self, server: Server) -> None:
        await (await server.open()).stream.aclose()

    async def not_an_upgrade(self, server: Server) -> None:
        client = await server.open()
        async with client.stream:
            await client.send(b"GET /ws/demo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.read_response()).status == 426

    async def partial_request(self, server: Server) -> None:
        client = await server.open()
        async with client.stream:
            await client.send(CONNECT[:-2])

    async def valid(self, server: Server) -> None:
        client = await server.open()
        async with client.stream:
            await client.send(CONNECT)
            assert (await client.read_response()).status == 101

    @pytest.mark.parametrize("kind", ["silent", "not_an_upgrade", "partial_request", "valid"])
    async def test_short_connections(
        self, start_server: StartServer, logs: list[MutableMapping[str, Any]], kind: str
    ) -> None:
        server = await start_server(global_rate_limit=None)
        await server.create()
        client = await server.connect()
        connect_and_leave: Callable[[Server], Awaitable[None]] = getattr(self, kind)
        tasks = trio.lowlevel.current_statistics().tasks_living
        for number in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(connect_and_leave, server)
            await check_delivery(server, client, number)
        await until(lambda: server.websockets.connections == 1)
        await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
        assert not [line for line in logs if line["log_level"] in ("warning", "error")]


class TestTokens:
    async def test_guessed_tokens_are_limited_per_address(
        self, start_server: StartServer, mock_clock: MockClock
    ) -> None:
        server = await start_server(global_rate_limit=limits.parse("100/minute"))
        await server.create()
        client = await server.connect()
        attempts: list[tuple[int, str]] = []
        for number in range(110):
            guess = f"guess-{number}"
            if number % 2:
                response = await server.try_to_connect(headers={"token": guess})
            else:
                response = await server.request("GET", "/api/instance/list", token=guess)
            attempts.append(response.error)
        assert (
            attempts
            == [(401, "Invalid token")] * 100
            + [(429, "Rate limit exceeded. Try again later.")] * 10
        )
        # Valid tokens are unaffected: each has a rate limit window of its own.
        await check_delivery(server, client, 1)
        mock_clock.jump(60)
        assert (await server.try_to_connect(headers={"token": "guess"})).status == 401

    async def test_five_hundred_connections_with_one_token(self, start_server: StartServer) -> None:
        server = await start_server(global_rate_limit=None, max_connections_per_instance=501)
        token = await server.create()
        await server.create("other")
        mine = await server.connect()
        many = [await server.connect(headers={"token": token}) for _ in range(500)]
        for _ in range(10):
            assert (await server.try_to_connect(headers={"token": token})).error == TOO_MANY
        assert (await server.publish({"n": 1})).json["clients"] == 501
        for client in (mine, *many):
            assert await client.data() == {"n": 1}
        other = await server.connect("other")
        await server.publish({"n": 2}, "other")
        assert await other.data() == {"n": 2}

    async def test_rate_limit_of_a_token(self, server: Server) -> None:
        token = await server.create()
        responses = [await server.try_to_connect(headers={"token": token}) for _ in range(105)]
        assert [response.status for response in responses] == [101] * 100 + [429] * 5


class TestConnectionLimits:
    @pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_instance"])
    async def test_connection_limit_is_exact(self, start_server: StartServer, limit: str) -> None:
        server = await start_server(**{limit: 20})
        await server.create()
        clients = [await server.connect() for _ in range(20)]
        refused = await server.try_to_connect()
        # An HTTP error instead of an upgrade.
        assert refused.error == TOO_MANY
        assert refused.headers["connection"] == "close"
        await clients[0].stream.aclose()
        await until(lambda: server.websockets.connections == 19)
        clients[0] = await server.connect()
        assert (await server.try_to_connect()).error == TOO_MANY
        assert (await server.publish({"n": 1})).json["clients"] == 20
