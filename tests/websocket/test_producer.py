"""A producer's WebSocket: a frame an event, in order, and never more in memory than a chunk."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, Ping, Pong

from ryze.changes import AccountTokenRevoked
from ryze.disconnects import INSTANCE_DELETED, RESTARTING
from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.publishing.publisher import Publisher
from ryze.records import WebsocketConfig
from ryze.websocket.encodings import PLAIN
from ryze.websocket.producer import Producer
from ryze.websocket.server import WebSocketLimits
from tests.cancelling import CancelAt, cancel_at_every_step
from tests.fakes import FakeTransport, client_frame, make_instance, server_frames
from tests.hub.operations import configure, publish
from tests.websocket.harness import HEAD, NOBODY, Peer, open_server, serve_upgrade, upgrade

CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9

PUBLISHER_KEY = "key-of-the-publisher"


def event(n: int) -> bytes:
    return client_frame(TEXT, b'{"event":"call.update","data":{"n":%d}}' % n)


async def open_publisher(
    nursery: trio.Nursery, hub: Hub, trailing: bytes = b""
) -> tuple[Producer, Peer]:
    peer = Peer(FakeTransport())
    publisher = Producer(
        peer.transport, WebSocketLimits().producer, Publisher(hub), draw=lambda: 0.5
    )

    async def live() -> None:
        try:
            await publisher.run(hub, make_instance(), HEAD, trailing, PUBLISHER_KEY)
        finally:
            publisher.close()
            peer.ended.set()

    nursery.start_soon(live)
    await wait_all_tasks_blocked()
    return publisher, peer


async def open_listener(nursery: trio.Nursery, hub: Hub) -> Peer:
    peer = Peer(FakeTransport())
    nursery.start_soon(serve_upgrade, open_server(hub), peer.transport)
    await wait_all_tasks_blocked()
    return peer


async def numbers(listener: Peer) -> list[Any]:
    return [msgspec.json.decode(text)["data"]["n"] for text in await listener.texts()]


async def test_every_frame_is_published_in_order(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    listener = await open_listener(nursery, hub)
    _, peer = await open_publisher(nursery, hub, trailing=event(0) + event(1))
    whole = event(2)
    peer.transport.feed(whole[:10])
    await wait_all_tasks_blocked()
    peer.transport.feed(whole[10:] + b"".join(event(n) for n in range(3, 500)))
    assert await numbers(listener) == list(range(500))


async def test_more_than_a_batch_waits_for_room(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What somebody else has published waits for the flush: it is not overtaken."""
    hub = Hub("http://ryze.test")
    listener = await open_listener(nursery, hub)
    _, peer = await open_publisher(nursery, hub)
    hub.publish(make_instance().id, Event("call.update", b'{"n":-1}'))
    peer.transport.feed(b"".join(event(n) for n in range(5000)))
    await wait_all_tasks_blocked()
    assert hub.statistics().unflushed == 64
    assert len(peer.transport._inbound) > 100_000
    nursery.start_soon(hub.run)
    assert await numbers(listener) == list(range(-1, 5000))


async def test_a_lone_publisher_does_not_wait_for_the_flush(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hub = Hub("http://ryze.test")
    listener = await open_listener(nursery, hub)
    _, peer = await open_publisher(nursery, hub)
    peer.transport.feed(b"".join(event(n) for n in range(500)))
    assert await numbers(listener) == list(range(500))


async def test_many_clients_are_left_to_the_flush(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    listeners = [await open_listener(nursery, hub) for _ in range(257)]
    _, peer = await open_publisher(nursery, hub)
    peer.transport.feed(b"".join(event(n) for n in range(3)))
    for listener in listeners:
        assert await numbers(listener) == [0, 1, 2]


async def test_a_heavy_event_loses_its_media_without_holding_up_the_others(
    hub: Hub, nursery: trio.Nursery
) -> None:
    """In a thread, on the real clock; the order stays."""
    listener = await open_listener(nursery, hub)
    configure(hub, make_instance().id, WebsocketConfig(True, media_base64=False))
    _, peer = await open_publisher(nursery, hub)
    heavy = b'{"event":"call.update","data":{"n":1,"media":{"base64":"%b"}}}' % (b"A" * 65536)
    peer.transport.feed(event(0) + client_frame(TEXT, heavy) + event(2))
    received: list[int] = []
    while len(received) < 3:
        received += await numbers(listener)
    assert received == [0, 1, 2]
    assert b"base64" not in listener.wire


async def test_a_bad_frame_ends_it_with_the_number_and_the_fault(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    listener = await open_listener(nursery, hub)
    for bad, fault in (
        (client_frame(TEXT, b'{"event":"x","data":{}}'), "Invalid enum value"),
        (client_frame(TEXT, b'{"event":"call.update","data":"\xff"}'), "utf-8"),
        (client_frame(TEXT), "frame 3: "),
        (client_frame(BINARY, b"{}"), "expected a text frame"),
    ):
        _, peer = await open_publisher(nursery, hub)
        peer.transport.feed(event(1) + event(2) + bad + event(4))
        assert await numbers(listener) == [1, 2]
        (close,) = await peer.settled()
        assert isinstance(close, CloseConnection)
        assert close.code == 1008
        assert (close.reason or "").startswith("frame 3: ")
        assert fault in (close.reason or "")
        peer.transport.feed(event(5))
        await peer.ended.wait()
    assert hub.connection_count(1) == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),
        (client_frame(CONTINUATION, b"x"), 1002),
        (client_frame(CLOSE, b"\x03"), 1002),
        (client_frame(CLOSE, b"\x03\xe8\xff"), 1007),
        (b"\x81\xff" + (32 * 1024 * 1024 + 1).to_bytes(8, "big"), 1009),
    ],
)
async def test_a_broken_protocol_ends_it(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, data: bytes, code: int
) -> None:
    _, peer = await open_publisher(nursery, hub)
    peer.transport.feed(event(1) + data)
    assert await peer.close_code() == code
    await peer.ended.wait()
    assert hub.statistics() == NOBODY


async def test_pings_and_closes_are_answered(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    listener = await open_listener(nursery, hub)
    _, peer = await open_publisher(nursery, hub)
    peer.send(Pong(b"0"))
    peer.send(Ping(b"1"))
    assert await peer.settled() == [Pong(b"1")]
    start = trio.current_time()
    peer.transport.feed(event(1) + client_frame(CLOSE, b"\x03\xe8") + event(2))
    assert await peer.close_code() == 1000
    assert peer.ended.is_set()
    assert trio.current_time() == start
    assert await numbers(listener) == [1]


async def test_a_silent_publisher_is_pinged_and_then_ended(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    _, peer = await open_publisher(nursery, hub)
    await trio.sleep_until(start + 15)
    await wait_all_tasks_blocked()
    assert [frame.opcode for frame in server_frames(peer.wire)[0]] == [PING]
    await peer.ended.wait()
    assert server_frames(peer.wire)[0][-1].close_code == 4009


async def test_what_comes_after_our_close_is_thrown_away(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It could be a hundred thousand events a second, for as long as a drain."""
    listener = await open_listener(nursery, hub)
    publisher, peer = await open_publisher(nursery, hub)
    publisher.disconnect(RESTARTING, grace_seconds=9)
    for n in range(1000):
        peer.transport.feed(event(n))
    await wait_all_tasks_blocked()
    assert len(publisher._events) == 0
    assert await numbers(listener) == []
    peer.transport.feed(client_frame(CLOSE, b"\x03\xf4"))
    await wait_all_tasks_blocked()
    assert peer.ended.is_set()


async def test_a_deleted_instance_ends_its_publishers(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, peer = await open_publisher(nursery, hub)
    hub.disconnect(1, INSTANCE_DELETED)
    assert await peer.close_code() == 4504


async def test_what_a_revoked_publisher_has_handed_over_is_published(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is told at once, also while it waits for room; what it sends then is thrown away."""
    hub = Hub("http://ryze.test")
    listener = await open_listener(nursery, hub)
    _, peer = await open_publisher(nursery, hub)
    for n in range(64):
        hub.publish(1, Event("call.update", b'{"n":%d}' % n))
    peer.transport.feed(event(64) + event(65))
    await wait_all_tasks_blocked()
    hub.follow(AccountTokenRevoked(PUBLISHER_KEY))
    peer.transport.feed(event(66))
    assert await peer.close_code() == 4501
    nursery.start_soon(hub.run)
    assert await numbers(listener) == list(range(66))
    await peer.ended.wait()


async def test_a_publisher_is_admitted_by_the_gateway_and_has_no_compression(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    request = upgrade(sec_websocket_extensions="permessage-deflate")
    request = type(request)(method="GET", target="/ws/shop/publish", headers=list(request.headers))
    peer = Peer(FakeTransport())
    gateway = open_server(hub, compression=True)
    nursery.start_soon(serve_upgrade, gateway, peer.transport, request)
    await wait_all_tasks_blocked()
    assert b" 101 " in peer.head
    assert b"permessage-deflate" not in peer.head
    assert hub.statistics() == NOBODY
    assert hub.connection_count(1) == 1
    assert gateway.connections == 1


# --- Cancelled at each await ---


async def a_quick_publisher(peer: Peer) -> None:
    peer.transport.feed(b"".join(event(n) for n in range(20)))
    peer.send(Ping(b"1"))
    await trio.sleep(31)
    peer.transport.feed(event(20))
    peer.send(CloseConnection(1000))


async def a_publisher_that_waits_for_room(peer: Peer) -> None:
    for n in range(200):
        peer.transport.feed(event(n))
        if n % 40 == 0:
            await trio.lowlevel.checkpoint()
    peer.transport.feed_eof()


async def a_publisher_in_fragments(peer: Peer) -> None:
    for byte in event(0) + event(1):
        peer.transport.feed(bytes([byte]))
        await trio.lowlevel.checkpoint()
    peer.transport.fail()


async def a_bad_publisher(peer: Peer) -> None:
    peer.transport.feed(event(0) + client_frame(TEXT, b"{}"))
    await trio.sleep(1)
    peer.send(CloseConnection(1000))


@pytest.mark.parametrize(
    "scenario",
    [
        a_quick_publisher,
        a_publisher_that_waits_for_room,
        a_publisher_in_fragments,
        a_bad_publisher,
    ],
)
@pytest.mark.parametrize("listeners", [1, 257])
def test_cancelled_wherever_it_is_a_publisher_leaves_nothing_behind(
    scenario: Callable[[Peer], Awaitable[None]], listeners: int
) -> None:
    """With one listener its events go out at once, with many they wait for the flush."""
    with capture_logs():
        assert cancel_at_every_step(partial(_run_publisher, scenario, listeners)) > 5


def _run_publisher(
    scenario: Callable[[Peer], Awaitable[None]], listeners: int, canceller: CancelAt
) -> None:
    async def main() -> None:
        hub = Hub("http://ryze.test")
        gateway = open_server(hub)
        peer, listener = Peer(FakeTransport()), Peer(FakeTransport())
        request = upgrade()
        request = type(request)(
            method="GET", target="/ws/shop/publish", headers=list(request.headers)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run)
            nursery.start_soon(serve_upgrade, gateway, listener.transport)
            with ExitStack() as others:
                for _ in range(listeners - 1):
                    others.enter_context(hub.subscribed(make_instance(), _an_outbox()))
                await wait_all_tasks_blocked()
                living = trio.lowlevel.current_statistics().tasks_living
                acting = trio.CancelScope()
                nursery.start_soon(_act_in, acting, scenario, peer)
                await canceller.run(serve_upgrade, gateway, peer.transport, request)
                acting.cancel()
                await wait_all_tasks_blocked()
                assert peer.transport.closed
                assert gateway.connections == 1
                assert hub.connection_count(1) == listeners
                assert trio.lowlevel.current_statistics().tasks_living == living
                # What was published is a first part, without a gap, and goes on being handed out.
                published = await numbers(listener)
                assert published == list(range(len(published)))
                assert await publish(hub, 1, [Event("call.update", b'{"n":-1}')]) == listeners
                assert await numbers(listener) == [-1]
            nursery.cancel_scope.cancel()
        assert hub.statistics() == NOBODY
        assert hub.connection_count(1) == 0

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[canceller])


def _an_outbox() -> Outbox:
    return Outbox(
        FakeTransport(), OutboxLimits(), PLAIN, start_writer=lambda: None, on_close=lambda: None
    )


async def _act_in(
    scope: trio.CancelScope, scenario: Callable[[Peer], Awaitable[None]], peer: Peer
) -> None:
    with scope:
        await wait_all_tasks_blocked()
        await scenario(peer)
