"""HTTP connections that never get on with it: they have a time, a cap, and no say in the rest."""

import pytest
import trio
from quart import Response
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.api.authorization import Scope, access
from tests.clients import UPGRADE, RawClient, WebSocketClient, request_bytes
from tests.conftest import ACCOUNT_TOKEN, JSON, Server, StartServer, until
from tests.hub.operations import publish
from tests.websocket.harness import EVENT

TOKEN = {"token": ACCOUNT_TOKEN}
CONNECT = request_bytes("GET", "/ws/demo", {**TOKEN, **UPGRADE})
HEALTH = request_bytes("GET", "/health")
PUBLISH = "/api/events/publish/demo"
TOO_MANY = (503, "Too many connections")


async def is_well(server: Server, client: WebSocketClient) -> None:
    assert await client.is_silent()
    assert await publish(server.services.hub, 1, [EVENT]) == 1
    assert await client.data() == {"id": 1}


def hold_health(server: Server) -> trio.Event:
    """From now on /health answers when this event is set."""
    go_on = trio.Event()

    @access(Scope.OPEN)
    async def handler() -> Response:
        await go_on.wait()
        return Response(b"done")

    server.app.view_functions["health.health"] = handler
    return go_on


async def busy(server: Server, count: int) -> list[RawClient]:
    """So many connections with a request that is not answered yet."""
    clients = []
    before = len(server.http_connections())
    for _ in range(count):
        clients.append(await server.open())
        await clients[-1].send(HEALTH)
    await until(lambda: len(server.http_connections()) == before + count)
    return clients


class TestBodies:
    @pytest.mark.parametrize("step", [0, 9])
    async def test_one_that_never_ends_has_a_minute(
        self, server: Server, demo: str, mock_clock: MockClock, step: int
    ) -> None:
        client = await server.connect()
        fields = {**TOKEN, **JSON, "Content-Length": "1000"}
        slow = [await server.open() for _ in range(20)]
        for each in slow:
            await each.send(request_bytes("POST", PUBLISH, fields) + b"{")
        for _ in range(6):
            await wait_all_tasks_blocked()
            await is_well(server, client)
            # A byte now and then does not put it off.
            for each in slow if step else ():
                await each.send(b" ")
            await wait_all_tasks_blocked()
            mock_clock.jump(9.9)
        assert len(server.http_connections()) == 20
        await wait_all_tasks_blocked()
        mock_clock.jump(0.7)
        for each in slow:
            assert (await each.answer()).error == (408, "Request timeout")
        # As long as the answer may need to get through.
        mock_clock.jump(2)
        await until(lambda: not server.http_connections())
        await is_well(server, client)

    async def test_without_a_token_there_is_nothing_to_wait_for(
        self, server: Server, demo: str
    ) -> None:
        fields = {"token": "wrong", **JSON, "Content-Length": "1000"}
        client = await server.open()
        await client.send(request_bytes("POST", PUBLISH, fields) + b"{")
        assert (await client.answer()).error == (401, "Invalid token")


class TestAnswers:
    async def test_those_who_ask_and_never_read_are_cut_off(
        self, server: Server, demo: str, mock_clock: MockClock
    ) -> None:
        large = b"x" * 20_000_000

        @access(Scope.OPEN)
        async def handler() -> Response:
            return Response(large)

        server.app.view_functions["health.health"] = handler
        client = await server.connect()
        # One question, or more than will ever be looked at.
        for pipelined in (1, 1, 1000):
            await (await server.open()).send(HEALTH * pipelined)
        await until(lambda: len(server.http_connections()) == 3)
        await wait_all_tasks_blocked(0.1)
        for _ in range(2):
            await is_well(server, client)
            mock_clock.jump(30)
        await until(lambda: not server.http_connections())
        await is_well(server, client)


class TestCap:
    async def test_the_cap_and_one_past_it(self, start_server: StartServer) -> None:
        server = await start_server(max_http_connections=3)
        await server.create()
        await until(lambda: not server.http_connections())
        go_on = hold_health(server)
        served = await busy(server, 3)
        for _ in range(3):
            refused = await server.request("GET", "/api/instance/list")
            assert refused.error == TOO_MANY
            assert refused.headers["connection"] == "close"
        # Those who come for a WebSocket are none of them.
        ws = await server.connect()
        go_on.set()
        for each in served:
            assert (await each.answer()).body == b"done"
        assert await ws.is_silent()
        assert (await server.request("GET", "/api/instance/list")).status == 200

    async def test_the_longest_idle_makes_way(
        self, start_server: StartServer, mock_clock: MockClock
    ) -> None:
        server = await start_server(max_http_connections=3)
        idle = [await server.open() for _ in range(3)]
        for each in (idle[1], idle[0], idle[2]):
            await each.request("GET", "/health")
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
        for gone in (idle[1], idle[0]):
            # Another takes its place, and is busy.
            newcomer = await server.open()
            assert (await newcomer.request("GET", "/health")).status == 200
            assert await gone.rest() == b""
            mock_clock.jump(1)
        assert (await idle[2].request("GET", "/health")).status == 200

    async def test_half_a_head_keeps_nobody_out(
        self, start_server: StartServer, mock_clock: MockClock
    ) -> None:
        server = await start_server(max_http_connections=3)
        for number in range(30):
            slow = await server.open()
            await slow.send(b"POST / HTTP/1.1\r\nHost: %d" % number)
            await wait_all_tasks_blocked()
            assert len(server.http_connections()) <= 3
        assert (await server.request("GET", "/health")).status == 200

    async def test_a_request_in_hand_never_makes_way(self, start_server: StartServer) -> None:
        server = await start_server(max_http_connections=2)
        go_on = hold_health(server)
        client = await server.open()
        # Two at once: between them it is idle, and on.
        await client.send(HEALTH * 2)
        await until(lambda: bool(server.http_connections()))
        await wait_all_tasks_blocked()
        for _ in range(5):
            other = await server.open()
            await other.request("GET", "/nowhere")
        go_on.set()
        assert [(await client.answer()).body for _ in range(2)] == [b"done", b"done"]

    async def test_zero_is_no_cap(self, start_server: StartServer) -> None:
        server = await start_server(max_http_connections=0)
        go_on = hold_health(server)
        served = await busy(server, 50)
        go_on.set()
        for each in served:
            assert (await each.answer()).body == b"done"
