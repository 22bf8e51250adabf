"""The WebSocket server: accepted connections, revocation, drain."""

import gc
import weakref

import h11
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.extensions import PerMessageDeflate

from ryze.changes import AccountTokenRevoked
from ryze.hub.hub import Hub
from ryze.websocket.server import WebSocketServer
from tests.fakes import (
    FakeTransport,
    call_at_next_checkpoint,
    client_frame,
    server_frames,
)
from tests.hub.harness import EMPTY_HUB, publish
from tests.websocket.harness import (
    EVENT,
    TOKEN_HASH,
    Peer,
    open_server,
    serve_upgrade,
    upgrade,
)


async def connect(
    nursery: trio.Nursery,
    server: WebSocketServer,
    transport: FakeTransport | None = None,
    *,
    request: h11.Request | None = None,
    peer: Peer | None = None,
) -> Peer:
    peer = peer or Peer(transport or FakeTransport())

    async def serve() -> None:
        await serve_upgrade(server, peer.transport, request)
        peer.ended.set()

    nursery.start_soon(serve)
    await wait_all_tasks_blocked()
    return peer


def upgrade_to(suffix: str) -> h11.Request:
    """Return an upgrade request of a subscriber, or with "/publish" of a producer."""
    return h11.Request(method="GET", target=f"/ws/shop{suffix}", headers=list(upgrade().headers))


async def test_accepted_connection_gets_101_with_headers_then_events(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = open_server(hub)
    peer = await connect(nursery, server)
    assert peer.head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nX-Seen: 192.0.2.1" in peer.head
    assert server.connections == 1
    assert repr(server) == "<WebSocketServer 1 connections>"
    assert await publish(hub, 1, [EVENT]) == 1
    assert len(await peer.texts()) == 1


@pytest.mark.parametrize("closes_properly", [True, False])
async def test_memory_of_a_connection_is_freed_at_once(
    closes_properly: bool, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """No reference cycle waits for the garbage collector, which runs rarely in the server."""
    server = open_server(hub)
    peer = await connect(nursery, server)
    await publish(hub, 1, [EVENT])
    if closes_properly:
        peer.send(CloseConnection(1000))
    else:
        peer.transport.feed_eof()
    transport = weakref.ref(peer.transport)
    gc.disable()
    try:
        del peer
        await wait_all_tasks_blocked()
        assert server.connections == 0
        assert transport() is None
    finally:
        gc.enable()


async def test_begin_and_end_of_a_connection_are_logged(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        peer = await connect(nursery, open_server(hub))
        peer.send(CloseConnection(1000))
        await wait_all_tasks_blocked()
    assert logs == [
        {
            "event": "connected",
            "log_level": "info",
            "connection": "ws-1",
            "client": "192.0.2.1",
            "instance": "shop",
            "instance_id": 1,
            "role": "subscriber",
        },
        {
            "event": "disconnected",
            "log_level": "info",
            "connection": "ws-1",
            "client": "192.0.2.1",
            "instance": "shop",
            "instance_id": 1,
            "role": "subscriber",
            "code": 1000,
            "reason": "",
            "lost": 0,
        },
    ]


@pytest.mark.parametrize("on", [False, True])
async def test_compression_is_negotiated_only_if_enabled(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, on: bool
) -> None:
    request = upgrade(sec_websocket_extensions="permessage-deflate; client_max_window_bits")
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate; server_no_context_takeover")
    peer = Peer(FakeTransport(), [extension] if on else [])
    await connect(nursery, open_server(hub, compression=on), request=request, peer=peer)
    assert (b"permessage-deflate" in peer.head) == on
    await publish(hub, 1, [EVENT, EVENT])
    first, second = await peer.texts()
    assert first == second
    assert (b"instanceData" in peer.transport.taken) != on


# --- Revocation ---


@pytest.mark.parametrize("suffix", ["", "/publish"], ids=["subscriber", "producer"])
async def test_revoked_token_ends_the_connections_it_opened(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, suffix: str
) -> None:
    peer = await connect(nursery, open_server(hub), request=upgrade_to(suffix))
    hub.follow(AccountTokenRevoked("another"))
    assert [each for each in await peer.settled() if isinstance(each, CloseConnection)] == []
    hub.follow(AccountTokenRevoked(TOKEN_HASH))
    assert await peer.close_code() == 4501


@pytest.mark.parametrize("suffix", ["", "/publish"], ids=["subscriber", "producer"])
async def test_token_revoked_right_after_the_admission_ends_the_connection(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, suffix: str
) -> None:
    """There is no checkpoint before the hub knows the connection.

    tests/access/test_upgrades.py has the same for the way from the admission to here.
    """
    server, peer, request = open_server(hub), Peer(FakeTransport()), upgrade_to(suffix)

    async def serve() -> None:
        call_at_next_checkpoint(lambda: hub.follow(AccountTokenRevoked(TOKEN_HASH)))
        await serve_upgrade(server, peer.transport, request)

    nursery.start_soon(serve)
    await wait_all_tasks_blocked()
    assert peer.head.startswith(b"HTTP/1.1 101 ")
    assert await peer.close_code() == 4501


# --- Drain ---


async def test_drain_closes_subscribers_one_by_one_with_1012(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = open_server(hub)
    peers = [await connect(nursery, server) for _ in range(20)]
    for _ in range(3):
        hub.publish(1, EVENT)
    start = trio.current_time()
    drained = trio.Event()

    async def drain() -> None:
        await server.drain(start + 10)
        drained.set()

    nursery.start_soon(drain)
    codes: list[float] = []
    while len(codes) < 20:
        await wait_all_tasks_blocked()
        for peer in peers:
            for event in peer.receive():
                if isinstance(event, CloseConnection):
                    assert event.code == 1012
                    codes.append(trio.current_time() - start)
                    peer.send(event.response())
                else:
                    # The first ping comes at a random time.
                    assert isinstance(event, TextMessage | Ping)
        await trio.sleep(0.001)
    assert codes[-1] - codes[0] == pytest.approx(0.005 * 19, abs=0.003)
    await wait_all_tasks_blocked()
    await drained.wait()
    assert trio.current_time() < start + 0.2
    assert server.connections == 0
    assert all(len([f for f in server_frames(p.received)[0] if f.opcode == 1]) == 3 for p in peers)


async def test_drain_of_many_subscribers_takes_half_of_the_time(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = open_server(hub)
    for _ in range(300):
        transport = FakeTransport()
        transport.feed_eof = lambda: None  # type: ignore[method-assign]
        nursery.start_soon(serve_upgrade, server, transport)
    await wait_all_tasks_blocked()
    start = trio.current_time()
    with trio.move_on_at(start + 0.5):
        await server.drain(start + 1)
    assert [o for o in hub.outboxes() if o.disconnect is None] == []


async def test_slow_drain_shortens_its_pauses(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    class Slow(FakeTransport):
        def send_nowait(self, data: bytes | memoryview) -> int:
            # Sending takes this long.
            autojump_clock.jump(0.004)
            return super().send_nowait(data)

    server = open_server(hub)
    for _ in range(300):
        nursery.start_soon(serve_upgrade, server, Slow())
    await wait_all_tasks_blocked()
    start = trio.current_time()
    with trio.move_on_at(start + 1.6):
        # Half of the time. A pause of 5 ms after each would make it 2.7 s.
        await server.drain(start + 3)
    assert [o for o in hub.outboxes() if o.disconnect is None] == []


async def test_drain_closes_producers_before_subscribers(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = open_server(hub)
    peers = [await connect(nursery, server) for _ in range(3)]
    producer = await connect(nursery, server, request=upgrade_to("/publish"))
    idle = await connect(nursery, server, request=upgrade_to("/publish"))
    peers += [await connect(nursery, server) for _ in range(3)]
    # More than there is room for, all of it received before the drain.
    event = client_frame(1, b'{"event":"call.update","data":{}}')
    producer.transport.receive_bytes = 300 * len(event)
    producer.transport.feed(event * 300)
    while not peers[0].received:
        await trio.lowlevel.checkpoint()
    assert len(peers[0].receive()) < 300
    nursery.start_soon(server.drain, trio.current_time() + 10)
    await wait_all_tasks_blocked()
    # Both producers, and the first subscriber.
    closed = [p for p in (*peers, producer, idle) if p.received.endswith(b"restarting")]
    assert closed[-2:] == [producer, idle]
    assert len(closed) == 3
    producer.transport.feed(event)
    await producer.ended.wait()
    await trio.sleep(0.1)
    for peer in peers:
        frames = [frame for frame in server_frames(peer.received)[0] if frame.opcode in (1, 8)]
        assert [frame.opcode for frame in frames] == [1] * 300 + [8]
    nursery.cancel_scope.cancel()


async def test_drain_waits_for_slow_readers_until_the_deadline(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = open_server(hub)
    slow = await connect(nursery, server, FakeTransport(170))
    await publish(hub, 1, [EVENT] * 10)
    start = trio.current_time()
    nursery.start_soon(server.drain, start + 9)
    for _ in range(85):
        await trio.sleep(0.1)
        slow.transport.read(20)
    await slow.ended.wait()
    assert trio.current_time() == pytest.approx(start + 9)
    frames, _ = server_frames(slow.received)
    assert [frame.opcode for frame in frames] == [1] * 10 + [8]
    assert frames[-1].close_code == 1012
    assert hub.statistics() == EMPTY_HUB


async def test_drain_does_not_wait_for_endless_http_publishing(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = open_server(hub)
    peer = await connect(nursery, server)

    async def publish_for_ever() -> None:
        while True:
            await publish(hub, 1, [EVENT])
            await trio.lowlevel.checkpoint()

    for _ in range(30):
        nursery.start_soon(publish_for_ever)
    with trio.fail_after(5):
        nursery.start_soon(server.drain, trio.current_time() + 4)
        while peer.transport.taken[-14:] != b"\x88\x0c\x03\xf4restarting":
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            autojump_clock.jump(0.01)
    nursery.cancel_scope.cancel()


async def test_drain_without_connections_returns_at_once(
    hub: Hub, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    await open_server(hub).drain(start - 1)
    assert trio.current_time() == start
