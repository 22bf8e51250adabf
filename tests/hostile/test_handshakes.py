"""Who comes in bad faith: slow, large, in masses, without a token, or with one too often."""

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


async def is_well(server: Server, client: WebSocketClient, number: int) -> None:
    """A client that was there before gets an event, as if nothing were."""
    assert (await server.publish({"n": number})).status == 202
    assert await client.data() == {"n": number}


class TestSlow:
    @pytest.mark.parametrize("data", [CONNECT, HEALTH], ids=["upgrade", "http"])
    async def test_a_hundred_that_send_a_byte_a_second(
        self, server: Server, demo: str, mock_clock: MockClock, data: bytes
    ) -> None:
        client = await server.connect()
        slow = [await server.open() for _ in range(100)]
        for second in range(10):
            for each in slow:
                await each.send(data[second : second + 1])
            await wait_all_tasks_blocked()
            await is_well(server, client, second)
            mock_clock.jump(1)
        for each in slow:
            assert (await each.answer()).error == (408, "Request timeout")
            assert await each.rest() == b""

    async def test_they_make_way_where_descriptors_run_out(
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
        newcomer = await server.open()
        await wait_all_tasks_blocked()
        mock_clock.jump(0.1)
        server.make_room()
        for each in (*silent, idle):
            assert await each.rest() in (b"", b"<reset>")
        # Who has just come may be about to speak.
        await newcomer.send(CONNECT)
        assert (await newcomer.answer()).status == 101
        await is_well(server, client, 1)

    async def test_not_all_of_them_at_once(self, server: Server, mock_clock: MockClock) -> None:
        silent = [await server.open() for _ in range(260)]
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        server.make_room()
        for each in silent[:256]:
            assert await each.rest() == b""
        for each in silent[256:]:
            await each.send(HEALTH)
            assert (await each.answer()).status == 200


class TestLarge:
    @pytest.mark.parametrize("path", ["/health", "/ws/demo"])
    async def test_a_mebibyte_of_header_is_not_taken_in(
        self, server: Server, demo: str, path: str
    ) -> None:
        client = await server.connect()
        head = request_bytes("GET", path, {f"x-{n}": "y" * 1000 for n in range(1000)})
        for number in range(20):
            large = await server.open()
            with pytest.RaisesGroup(Answered, flatten_subgroups=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(large.send, head)
                    nursery.start_soon(expect, large, (431, "Request header fields too large"))
            await is_well(server, client, number)

    @pytest.mark.parametrize("path", ["/health", "/ws/demo"])
    async def test_the_limit_and_one_past_it(self, start_server: StartServer, path: str) -> None:
        server = await start_server(max_header_bytes=4096)
        await server.create()
        rest = len(request_bytes("GET", path, {**TOKEN, **UPGRADE, "x": ""}))
        for size, status in ((4096, 101 if "ws" in path else 200), (4097, 431)):
            fields = {**TOKEN, **UPGRADE, "x": "y" * (size - rest)}
            answer = await server.raw(request_bytes("GET", path, fields))
            assert answer.status == status


class Answered(Exception):
    """The server has answered, whatever is still being sent."""


async def expect(client: RawClient, error: tuple[int, str]) -> None:
    assert (await client.answer()).error == error
    raise Answered


class TestMasses:
    """What that does to memory: `test_masses`."""

    async def silent(self, server: Server) -> None:
        await (await server.open()).stream.aclose()

    async def wrong(self, server: Server) -> None:
        client = await server.open()
        async with client.stream:
            await client.send(b"GET /ws/demo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.answer()).status == 426

    async def half(self, server: Server) -> None:
        client = await server.open()
        async with client.stream:
            await client.send(CONNECT[:-2])

    async def right(self, server: Server) -> None:
        client = await server.open()
        async with client.stream:
            await client.send(CONNECT)
            assert (await client.answer()).status == 101

    @pytest.mark.parametrize("how", ["silent", "wrong", "half", "right"])
    async def test_come_and_go(
        self, start_server: StartServer, logs: list[MutableMapping[str, Any]], how: str
    ) -> None:
        server = await start_server(global_rate_limit=None)
        await server.create()
        client = await server.connect()
        come_and_go: Callable[[Server], Awaitable[None]] = getattr(self, how)
        tasks = trio.lowlevel.current_statistics().tasks_living
        for number in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(come_and_go, server)
            await is_well(server, client, number)
        await until(lambda: server.services.websockets.connections == 1)
        await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
        assert not [line for line in logs if line["log_level"] in ("warning", "error")]


class TestTokens:
    async def test_tokens_tried_at_random_are_counted_for_their_address(
        self, start_server: StartServer, mock_clock: MockClock
    ) -> None:
        server = await start_server(global_rate_limit=limits.parse("100/minute"))
        await server.create()
        client = await server.connect()
        attempts: list[tuple[int, str]] = []
        for number in range(110):
            guess = {"token": f"guess-{number}"}
            if number % 2:
                answer = await server.try_to_connect(headers=guess)
            else:
                answer = await server.request("GET", "/api/instance/list", **guess)
            attempts.append(answer.error)
        assert (
            attempts
            == [(401, "Invalid token")] * 100
            + [(429, "Rate limit exceeded. Try again later.")] * 10
        )
        # A guess that is right by now is a guess that nobody looks at: it has a window of its own.
        await is_well(server, client, 1)
        mock_clock.jump(60)
        assert (await server.try_to_connect(headers={"token": "guess"})).status == 401

    async def test_the_same_token_from_five_hundred_sockets(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(global_rate_limit=None, max_connections_per_instance=501)
        token = await server.create()
        await server.create("other")
        mine = await server.connect()
        greedy = [await server.connect(headers={"token": token}) for _ in range(500)]
        for _ in range(10):
            assert (await server.try_to_connect(headers={"token": token})).error == TOO_MANY
        assert (await server.publish({"n": 1})).json["clients"] == 501
        for client in (mine, *greedy):
            assert await client.data() == {"n": 1}
        other = await server.connect("other")
        await server.publish({"n": 2}, "other")
        assert await other.data() == {"n": 2}

    async def test_in_a_minute_it_gets_no_more_than_its_limit(self, server: Server) -> None:
        token = await server.create()
        answers = [await server.try_to_connect(headers={"token": token}) for _ in range(105)]
        assert [answer.status for answer in answers] == [101] * 100 + [429] * 5


class TestCaps:
    @pytest.mark.parametrize("cap", ["max_connections", "max_connections_per_instance"])
    async def test_the_cap_and_one_past_it(self, start_server: StartServer, cap: str) -> None:
        server = await start_server(**{cap: 20})
        await server.create()
        clients = [await server.connect() for _ in range(20)]
        refused = await server.try_to_connect()
        # Plain HTTP, and in the envelope: there was no upgrade.
        assert refused.error == TOO_MANY
        assert refused.headers["connection"] == "close"
        await clients[0].stream.aclose()
        await until(lambda: server.services.websockets.connections == 19)
        clients[0] = await server.connect()
        assert (await server.try_to_connect()).error == TOO_MANY
        assert (await server.publish({"n": 1})).json["clients"] == 20
