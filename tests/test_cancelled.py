"""Cancellation at each await of the flush, a request, the start and the shutdown leaves nothing.

websocket/test_connection.py and websocket/test_producer.py do the same for connections.
"""

import json
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

import ryze.app
from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.server.dispatcher import Dispatcher
from ryze.settings import Settings
from ryze.store import open_database, select_accounts
from ryze.websocket.views import PLAIN
from tests.cancelling import CancelAt, cancel_at_every_step
from tests.clients import UPGRADE, RawClient, request_bytes
from tests.conftest import ACCOUNT_TOKEN, JSON, Server, StartServer
from tests.fakes import FakeTransport, make_instance, server_frames
from tests.hub.harness import EMPTY_HUB, publish

TOKEN = {"token": ACCOUNT_TOKEN}


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def capture_all_logs() -> Iterator[None]:
    with capture_logs():
        yield


async def _cancel_at_every_step_live(run: Callable[[CancelAt], Awaitable[None]]) -> int:
    """Like `cancel_at_every_step`, in one run of Trio: sockets and threads are real."""
    living = trio.lowlevel.current_statistics().tasks_living
    before = open_descriptors()
    step, canceller = 0, CancelAt(0)
    while canceller.done or not step:
        step += 1
        canceller = CancelAt(step)
        trio.lowlevel.add_instrument(canceller)
        await run(canceller)
        trio.lowlevel.remove_instrument(canceller)
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living <= living + 1
        assert open_descriptors() <= before + 1
    return step


# --- The flush ---


def test_cancelled_flush_leaves_whole_frames_and_an_empty_hub() -> None:
    assert cancel_at_every_step(_run_flush) > 10


def _run_flush(canceller: CancelAt) -> None:
    async def main() -> None:
        hub = Hub("http://ryze.test")
        transports = [FakeTransport() for _ in range(600)]
        async with trio.open_nursery() as nursery:
            with ExitStack() as subscribed:
                for transport in transports:
                    subscribed.enter_context(hub.subscribed(make_instance(), _outbox(transport)))
                nursery.start_soon(_publish, hub)
                with trio.move_on_after(10):
                    await canceller.run(hub.run)
                nursery.cancel_scope.cancel()
        assert replace(hub.statistics(), unflushed=0) == EMPTY_HUB
        received = [_numbers(transport) for transport in transports]
        # Earlier subscribers received at least as much; no gap, no partial frame.
        assert received == sorted(received, reverse=True)
        assert all(numbers == list(range(len(numbers))) for numbers in received)

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[canceller])


def _outbox(transport: FakeTransport) -> Outbox:
    return Outbox(
        transport, OutboxLimits(), PLAIN, start_writer=lambda: None, on_close=lambda: None
    )


async def _publish(hub: Hub) -> None:
    for start in range(0, 12, 3):
        events = [Event("call.update", b'{"n":%d}' % n) for n in range(start, start + 3)]
        await publish(hub, make_instance().id, events)


def _numbers(transport: FakeTransport) -> list[int]:
    frames, rest = server_frames(transport.taken)
    assert rest == b""
    return [json.loads(frame.payload)["data"]["n"] for frame in frames]


# --- A request ---

EVENTS = json.dumps([{"event": "call.update", "data": {"n": n}} for n in range(5)]).encode()

REQUESTS = {
    "list instances": request_bytes("GET", "/api/instance/list", TOKEN),
    "publish": request_bytes("POST", "/api/events/publish/demo", TOKEN | JSON, EVENTS),
    "create an instance": request_bytes(
        "POST", "/api/instance/new", TOKEN | JSON, b'{"name":"other","websocketEnabled":true}'
    ),
    "delete an instance": request_bytes("DELETE", "/api/instance/delete/other", TOKEN),
    "upgrade": request_bytes("GET", "/ws/other", TOKEN | UPGRADE),
}


@pytest.mark.parametrize("request_name", REQUESTS)
async def test_cancelled_request_leaves_nothing_behind(
    request_name: str, start_server: StartServer
) -> None:
    server = await start_server(global_rate_limit=None, create_rate_limit=None)
    await server.create()
    await server.create("other")
    subscriber = await server.connect()

    async def send_and_cancel(canceller: CancelAt) -> None:
        await _send_and_cancel(server, REQUESTS[request_name], canceller)
        await _check_server(server)

    assert await _cancel_at_every_step_live(send_and_cancel) > 3
    # Other clients are served as before; of each array of events a first part has been published.
    await server.publish({"n": -1})
    numbers = [0]
    while numbers[-1] != -1:
        numbers.append((await subscriber.data())["n"])
        assert numbers[-1] in (-1, 0, numbers[-2] + 1)


async def _send_and_cancel(server: Server, data: bytes, canceller: CancelAt) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    peer = await trio.open_tcp_stream(*listeners[0].socket.getsockname())
    stream = await listeners[0].accept()
    await listeners[0].aclose()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_request, peer, data)
        await canceller.run(_serve, server.dispatcher, stream)


async def _serve(dispatcher: Dispatcher, stream: trio.SocketStream) -> None:
    async with stream:
        await dispatcher.serve(stream)


async def _send_request(peer: trio.SocketStream, data: bytes) -> None:
    """Send a request, and disconnect once the response begins."""
    async with peer:
        with suppress(trio.BrokenResourceError):
            await peer.send_all(data)
            await peer.receive_some(1)


async def _check_server(server: Server) -> None:
    """Check that registry and database agree, and that no connection is left."""
    listed = (await server.request("GET", "/api/instance/list")).json["instances"]
    names = {instance["name"] for instance in listed}
    assert "demo" in names
    # In both or in neither: a deleted name is free, and a listed instance can be deleted.
    if "other" in names:
        assert (await server.request("DELETE", "/api/instance/delete/other")).status == 200
    await server.create("other")
    await wait_all_tasks_blocked(0.001)
    assert not server.http_connections()
    assert server.websockets.connections == 1


# --- Start and shutdown ---

Serve = Callable[..., Awaitable[None]]


@pytest.fixture
def serve(settings: Settings) -> Serve:
    short = replace(settings, close_grace_seconds=0.01, drain_seconds=0.2)
    return partial(ryze.app.serve, short, announce=lambda _: None)


async def test_cancelled_start_leaves_nothing_behind(serve: Serve, settings: Settings) -> None:
    """Port and database are free for the next start, and only one account is ever created."""

    async def start() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, trio.Event())
            nursery.cancel_scope.cancel()

    assert await _cancel_at_every_step_live(lambda canceller: canceller.run(start)) > 10
    async with open_database(settings.database_url, exclusive=True) as database:
        assert len(await database.read(select_accounts)) == 1


async def test_cancelled_shutdown_leaves_nothing_behind(serve: Serve) -> None:
    """With a subscriber, a producer and an idle connection; each of them is closed."""

    async def shut_down(canceller: CancelAt) -> None:
        canceller.armed = False
        stop = trio.Event()
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[ryze.app.Running]) -> None:
                await canceller.run(partial(serve, task_status=task_status), stop)

            running = await nursery.start(run)
            clients = [await _open_client(running.settings, target) for target in CLIENTS]
            canceller.armed = True
            stop.set()
            for client in clients:
                await client.rest()
                await client.stream.aclose()

    assert await _cancel_at_every_step_live(shut_down) > 5


CLIENTS = ("/api/instance/list", "/ws/demo", "/ws/demo/publish")


async def _open_client(settings: Settings, target: str) -> RawClient:
    """A connection on which `target` has been requested."""
    host, _, port = settings.base_url.removeprefix("http://").rpartition(":")
    client = RawClient(await trio.open_tcp_stream(host, int(port)))
    body = b'{"name":"demo","websocketEnabled":true}'
    # Created by the first call; a 409 afterwards.
    await client.request("POST", "/api/instance/new", TOKEN | JSON, body)
    await client.request("GET", target, TOKEN | UPGRADE)
    return client
