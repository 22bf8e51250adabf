"""Thousands of short connections of every kind leave no memory and no descriptor behind.

``nox -s hostile`` runs it with a hundred thousand.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from tests.clients import UPGRADE, request_bytes
from tests.e2e.harness import Server, StartServer
from tests.hostile.mass_clients import MassClients, open_descriptors, resident_bytes

CONCURRENT = 20

# Allowance for memory that the allocator keeps; 100 bytes left by each of 100,000 connections
# exceed it.
SLACK_BYTES = 8 * 1024 * 1024

ShortConnection = Callable[[MassClients, str], Awaitable[None]]


async def send_nothing(clients: MassClients, token: str) -> None:
    await clients.connect_and_leave(b"", b"")


async def send_partial_request(clients: MassClients, token: str) -> None:
    await clients.connect_and_leave(request_bytes("GET", "/ws/demo", UPGRADE)[:-2], b"")


async def send_wrong_token(clients: MassClients, token: str) -> None:
    await clients.connect_and_leave(
        request_bytes("GET", "/ws/demo", {"token": "guess", **UPGRADE}), b" 401 "
    )


async def request_unknown_path(clients: MassClients, token: str) -> None:
    await clients.connect_and_leave(request_bytes("GET", "/nowhere"), b" 404 ")


async def connect(clients: MassClients, token: str) -> None:
    await clients.connect_and_leave(
        request_bytes("GET", "/ws/demo", {"token": token, **UPGRADE}), b" 101 "
    )


def test_short_connections_leave_nothing_behind(
    start_process: StartServer, request: pytest.FixtureRequest
) -> None:
    server = start_process(global_rate_limit="", log_level="warning")
    token = server.create_instance("demo")
    trio.run(open_short_connections, server, token, request.config.getoption("--come-and-go"))
    assert server.log == ""


async def open_short_connections(server: Server, token: str, total: int) -> None:
    kinds = (send_nothing, send_partial_request, send_wrong_token, request_unknown_path, connect)
    async with MassClients(server) as clients:
        run_all = partial(run_concurrently, clients, token, kinds)
        # Warm-up: one-time allocations are made.
        await run_all(500)
        descriptors, memory = open_descriptors(server), resident_bytes(server)
        await run_all(total)
        grown = resident_bytes(server) - memory
        print(f"{total} connections: memory grew by {grown} bytes")
        assert grown < SLACK_BYTES
        # The last connections are still being closed.
        assert open_descriptors(server) < descriptors + 2 * CONCURRENT
        client = await clients.connect("/ws/demo", token)
        # The HTTP connection was idle for longer than the keep-alive time.
        server.close_http_connection()
        event = {"event": "call.update", "data": {"n": 1}}
        assert await trio.to_thread.run_sync(server.publish, "demo", event) >= 1
        while b'"n": 1}' not in client.wire:
            client.wire += await client.stream.receive_some(65536)


async def run_concurrently(
    clients: MassClients, token: str, kinds: tuple[ShortConnection, ...], total: int
) -> None:
    async def some() -> None:
        for _ in range(total // CONCURRENT // len(kinds)):
            for connect_once in kinds:
                await connect_once(clients, token)

    async with trio.open_nursery() as nursery:
        for _ in range(CONCURRENT):
            nursery.start_soon(some)
