"""Connections come and go by the thousands, in every way, and leave nothing in memory.

``nox -s hostile`` runs it with a hundred thousand.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from tests.clients import UPGRADE, request_bytes
from tests.e2e.harness import Server, StartServer
from tests.hostile.mass_clients import Crowd, open_descriptors, resident_bytes

AT_A_TIME = 20

# What an allocator may keep for itself: with very many, 100 bytes left by each would show.
SLACK_BYTES = 8 * 1024 * 1024

Visit = Callable[[Crowd, str], Awaitable[None]]


async def say_nothing(crowd: Crowd, token: str) -> None:
    await crowd.visit(b"", b"")


async def say_half(crowd: Crowd, token: str) -> None:
    await crowd.visit(request_bytes("GET", "/ws/demo", UPGRADE)[:-2], b"")


async def guess(crowd: Crowd, token: str) -> None:
    await crowd.visit(request_bytes("GET", "/ws/demo", {"token": "guess", **UPGRADE}), b" 401 ")


async def ask(crowd: Crowd, token: str) -> None:
    await crowd.visit(request_bytes("GET", "/nowhere"), b" 404 ")


async def connect(crowd: Crowd, token: str) -> None:
    await crowd.visit(request_bytes("GET", "/ws/demo", {"token": token, **UPGRADE}), b" 101 ")


def test_they_leave_nothing_behind(
    start_process: StartServer, request: pytest.FixtureRequest
) -> None:
    server = start_process(global_rate_limit="", log_level="warning")
    token = server.create_instance("demo")
    trio.run(come_and_go, server, token, request.config.getoption("--come-and-go"))
    assert server.log == ""


async def come_and_go(server: Server, token: str, total: int) -> None:
    visits = (say_nothing, say_half, guess, ask, connect)
    async with Crowd(server) as crowd:
        in_all = partial(let_visit, crowd, token, visits)
        # All that is made once has been made by then.
        await in_all(500)
        descriptors, memory = open_descriptors(server), resident_bytes(server)
        await in_all(total)
        grown = resident_bytes(server) - memory
        print(f"{total} connections came and went: {grown} bytes more than before")
        assert grown < SLACK_BYTES
        # The last ones are just being closed.
        assert open_descriptors(server) < descriptors + 2 * AT_A_TIME
        client = await crowd.connect("/ws/demo", token)
        # The connection for requests has been idle for longer than such a one is kept.
        server.hang_up()
        event = {"event": "call.update", "data": {"n": 1}}
        assert await trio.to_thread.run_sync(server.publish, "demo", event) >= 1
        while b'"n": 1}' not in client.wire:
            client.wire += await client.stream.receive_some(65536)


async def let_visit(crowd: Crowd, token: str, visits: tuple[Visit, ...], total: int) -> None:
    async def some() -> None:
        for _ in range(total // AT_A_TIME // len(visits)):
            for visit in visits:
                await visit(crowd, token)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_A_TIME):
            nursery.start_soon(some)
