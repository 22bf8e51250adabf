"""The cap of HTTP connections, and the eviction of idle ones at it."""

import trio
from quart import Response
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.api.authorization import Scope, requires
from tests.clients import RawClient, request_bytes
from tests.conftest import Server, StartServer, until

HEALTH = request_bytes("GET", "/health")
TOO_MANY = (503, "Too many connections")


def hold_health(server: Server) -> trio.Event:
    """Make /health wait until the returned event is set."""
    release = trio.Event()

    @requires(Scope.OPEN)
    async def handler() -> Response:
        await release.wait()
        return Response(b"done")

    server.app.view_functions["health.health"] = handler
    return release


async def open_busy(server: Server, count: int) -> list[RawClient]:
    """Open `count` connections with a request in flight."""
    clients = []
    before = len(server.http_connections())
    for _ in range(count):
        clients.append(await server.open())
        await clients[-1].send(HEALTH)
    await until(lambda: len(server.http_connections()) == before + count)
    return clients


class TestConnectionLimit:
    async def test_limit_is_exact(self, start_server: StartServer) -> None:
        server = await start_server(max_http_connections=3)
        await server.create()
        await until(lambda: not server.http_connections())
        release = hold_health(server)
        served = await open_busy(server, 3)
        for _ in range(3):
            refused = await server.request("GET", "/api/instance/list")
            assert refused.error == TOO_MANY
            assert refused.headers["connection"] == "close"
        # WebSockets do not count.
        ws = await server.connect()
        release.set()
        for each in served:
            assert (await each.read_response()).body == b"done"
        assert await ws.is_silent()
        assert (await server.request("GET", "/api/instance/list")).status == 200

    async def test_longest_idle_connection_is_evicted(
        self, start_server: StartServer, mock_clock: MockClock
    ) -> None:
        server = await start_server(max_http_connections=3)
        idle = [await server.open() for _ in range(3)]
        for each in (idle[1], idle[0], idle[2]):
            await each.request("GET", "/health")
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
        for evicted in (idle[1], idle[0]):
            # A new connection takes its place, and is busy.
            new_client = await server.open()
            assert (await new_client.request("GET", "/health")).status == 200
            assert await evicted.rest() == b""
            mock_clock.jump(1)
        assert (await idle[2].request("GET", "/health")).status == 200

    async def test_partial_request_heads_do_not_block_others(
        self, start_server: StartServer, mock_clock: MockClock
    ) -> None:
        server = await start_server(max_http_connections=3)
        for number in range(30):
            slow = await server.open()
            await slow.send(b"POST / HTTP/1.1\r\nHost: %d" % number)
            await wait_all_tasks_blocked()
            assert len(server.http_connections()) <= 3
        assert (await server.request("GET", "/health")).status == 200

    async def test_connection_with_a_request_in_flight_is_never_evicted(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(max_http_connections=2)
        release = hold_health(server)
        client = await server.open()
        # Two pipelined requests: it is idle for a moment between them.
        await client.send(HEALTH * 2)
        await until(lambda: bool(server.http_connections()))
        await wait_all_tasks_blocked()
        for _ in range(5):
            other = await server.open()
            await other.request("GET", "/nowhere")
        release.set()
        assert [(await client.read_response()).body for _ in range(2)] == [b"done", b"done"]

    async def test_zero_means_no_limit(self, start_server: StartServer) -> None:
        server = await start_server(max_http_connections=0)
        release = hold_health(server)
        served = await open_busy(server, 50)
        release.set()
        for each in served:
            assert (await each.read_response()).body == b"done"
