"""HTTP connections that stall: they have a deadline, and affect no other client."""

import pytest
from quart import Response
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.api.authorization import Scope, requires
from tests.clients import WebSocketClient, request_bytes
from tests.conftest import ACCOUNT_TOKEN, JSON, Server, until
from tests.hub.harness import publish
from tests.websocket.harness import EVENT

TOKEN = {"token": ACCOUNT_TOKEN}
HEALTH = request_bytes("GET", "/health")
PUBLISH = "/api/events/publish/demo"


async def check_delivery(server: Server, client: WebSocketClient) -> None:
    """Check that a WebSocket receives events, and nothing else."""
    assert await client.is_silent()
    assert await publish(server.hub, 1, [EVENT]) == 1
    assert await client.data() == {"id": 1}


class TestBodies:
    @pytest.mark.parametrize("step", [0, 9])
    async def test_incomplete_body_times_out_after_a_minute(
        self, server: Server, demo: str, mock_clock: MockClock, step: int
    ) -> None:
        client = await server.connect()
        fields = {**TOKEN, **JSON, "Content-Length": "1000"}
        slow = [await server.open() for _ in range(20)]
        for each in slow:
            await each.send(request_bytes("POST", PUBLISH, fields) + b"{")
        for _ in range(6):
            await wait_all_tasks_blocked()
            await check_delivery(server, client)
            # Receiving bytes does not extend the deadline.
            for each in slow if step else ():
                await each.send(b" ")
            await wait_all_tasks_blocked()
            mock_clock.jump(9.9)
        assert len(server.http_connections()) == 20
        await wait_all_tasks_blocked()
        mock_clock.jump(0.7)
        for each in slow:
            assert (await each.read_response()).error == (408, "Request timeout")
        # Time for the response to be delivered.
        mock_clock.jump(2)
        await until(lambda: not server.http_connections())
        await check_delivery(server, client)

    async def test_invalid_token_is_refused_before_the_body(
        self, server: Server, demo: str
    ) -> None:
        fields = {"token": "wrong", **JSON, "Content-Length": "1000"}
        client = await server.open()
        await client.send(request_bytes("POST", PUBLISH, fields) + b"{")
        assert (await client.read_response()).error == (401, "Invalid token")


class TestUnreadResponses:
    async def test_clients_that_never_read_are_aborted(
        self, server: Server, demo: str, mock_clock: MockClock
    ) -> None:
        large = b"x" * 20_000_000

        @requires(Scope.OPEN)
        async def handler() -> Response:
            return Response(large)

        server.app.view_functions["health.health"] = handler
        client = await server.connect()
        # One request, or more than the server will ever read.
        for pipelined in (1, 1, 1000):
            await (await server.open()).send(HEALTH * pipelined)
        await until(lambda: len(server.http_connections()) == 3)
        await wait_all_tasks_blocked(0.1)
        for _ in range(2):
            await check_delivery(server, client)
            mock_clock.jump(30)
        await until(lambda: not server.http_connections())
        await check_delivery(server, client)
