"""A producer's connection: one event per text frame, in order, one chunk in memory at most."""

import tracemalloc
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
from ryze.websocket.producer import Producer
from ryze.websocket.server import WebSocketLimits
from ryze.websocket.views import PLAIN
from tests.cancelling import CancelAt, cancel_at_every_step
from tests.fakes import FakeTransport, client_frame, make_instance, server_frames
from tests.hub.harness import EMPTY_HUB, configure, publish
from tests.websocket.harness import RESPONSE_HEAD, Peer, open_server, serve_upgrade, upgrade

CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9

PRODUCER_TOKEN_HASH = "hash-of-the-producers-token"


def event(n: int) -> bytes:
    return client_frame(TEXT, b'{"event":"call.update","data":{"n":%d}}' % n)


async def open_producer(
    nursery: trio.Nursery, hub: Hub, trailing: bytes = b""
) -> tuple[Producer, Peer]:
    peer = Peer(FakeTransport())
    producer = Producer(
        peer.transport, WebSocketLimits().producer, Publisher(hub), draw=lambda: 0.5
    )

    async def serve() -> None:
        try:
            await producer.run(hub, make_instance(), RESPONSE_HEAD, trailing, PRODUCER_TOKEN_HASH)
        finally:
            producer.close()
            peer.ended.set()

    nursery.start_soon(serve)
    await wait_all_tasks_blocked()
    return producer, peer


async def open_subscriber(nursery: trio.Nursery, hub: Hub) -> Peer:
    peer = Peer(FakeTransport())
    nursery.start_soon(serve_upgrade, open_server(hub), peer.transport)
    await wait_all_tasks_blocked()
    return peer


async def numbers(subscriber: Peer) -> list[Any]:
    return [msgspec.json.decode(text)["data"]["n"] for text in await subscriber.texts()]


async def test_every_frame_is_published_in_order(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    subscriber = await open_subscriber(nursery, hub)
    _, peer = await open_producer(nursery, hub, trailing=event(0) + event(1))
    whole = event(2)
    peer.transport.feed(whole[:10])
    await wait_all_tasks_blocked()
    peer.transport.feed(whole[10:] + b"".join(event(n) for n in range(3, 500)))
    assert await numbers(subscriber) == list(range(500))


async def test_a_producer_is_not_read_while_64_events_are_unflushed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its events do not overtake the unflushed event of another producer."""
    hub = Hub("http://ryze.test")
    subscriber = await open_subscriber(nursery, hub)
    _, peer = await open_producer(nursery, hub)
    hub.publish(make_instance().id, Event("call.update", b'{"n":-1}'))
    peer.transport.feed(b"".join(event(n) for n in range(5000)))
    await wait_all_tasks_blocked()
    assert hub.statistics().unflushed == 64
    assert peer.transport.unread_bytes > 100_000
    nursery.start_soon(hub.run)
    assert await numbers(subscriber) == list(range(-1, 5000))


async def test_a_single_producer_does_not_wait_for_the_flush(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hub = Hub("http://ryze.test")
    subscriber = await open_subscriber(nursery, hub)
    _, peer = await open_producer(nursery, hub)
    peer.transport.feed(b"".join(event(n) for n in range(500)))
    assert await numbers(subscriber) == list(range(500))


async def test_events_for_more_than_256_subscribers_are_left_to_the_flush(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    subscribers = [await open_subscriber(nursery, hub) for _ in range(257)]
    _, peer = await open_producer(nursery, hub)
    peer.transport.feed(b"".join(event(n) for n in range(3)))
    for subscriber in subscribers:
        assert await numbers(subscriber) == [0, 1, 2]


async def test_large_media_is_removed_without_changing_the_order(
    hub: Hub, nursery: trio.Nursery
) -> None:
    """In a thread, so on the real clock."""
    subscriber = await open_subscriber(nursery, hub)
    configure(hub, make_instance().id, WebsocketConfig(True, media_base64=False))
    _, peer = await open_producer(nursery, hub)
    large = b'{"event":"call.update","data":{"n":1,"media":{"base64":"%b"}}}' % (b"A" * 65536)
    peer.transport.feed(event(0) + client_frame(TEXT, large) + event(2))
    received: list[int] = []
    while len(received) < 3:
        received += await numbers(subscriber)
    assert received == [0, 1, 2]
    assert b"base64" not in subscriber.received


async def test_an_invalid_event_closes_with_its_frame_number_and_fault(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    subscriber = await open_subscriber(nursery, hub)
    for invalid, fault in (
        (client_frame(TEXT, b'{"event":"x","data":{}}'), "Invalid enum value"),
        (client_frame(TEXT, b'{"event":"call.update","data":"\xff"}'), "utf-8"),
        (client_frame(TEXT), "frame 3: "),
        (client_frame(BINARY, b"{}"), "expected a text frame"),
    ):
        _, peer = await open_producer(nursery, hub)
        peer.transport.feed(event(1) + event(2) + invalid + event(4))
        assert await numbers(subscriber) == [1, 2]
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
async def test_a_protocol_error_closes_with_its_code(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, data: bytes, code: int
) -> None:
    _, peer = await open_producer(nursery, hub)
    peer.transport.feed(event(1) + data)
    assert await peer.close_code() == code
    await peer.ended.wait()
    assert hub.statistics() == EMPTY_HUB


async def test_pings_get_pongs_and_a_close_is_returned(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    subscriber = await open_subscriber(nursery, hub)
    _, peer = await open_producer(nursery, hub)
    peer.send(Pong(b"0"))
    peer.send(Ping(b"1"))
    assert await peer.settled() == [Pong(b"1")]
    start = trio.current_time()
    peer.transport.feed(event(1) + client_frame(CLOSE, b"\x03\xe8") + event(2))
    assert await peer.close_code() == 1000
    assert peer.ended.is_set()
    assert trio.current_time() == start
    assert await numbers(subscriber) == [1]


async def test_a_silent_producer_is_pinged_and_then_disconnected(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    _, peer = await open_producer(nursery, hub)
    await trio.sleep_until(start + 15)
    await wait_all_tasks_blocked()
    assert [frame.opcode for frame in server_frames(peer.received)[0]] == [PING]
    await peer.ended.wait()
    assert server_frames(peer.received)[0][-1].close_code == 4009


async def test_events_after_our_close_are_discarded(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Not kept in memory: there could be 100,000 per second for as long as a drain."""
    subscriber = await open_subscriber(nursery, hub)
    producer, peer = await open_producer(nursery, hub)
    producer.disconnect(RESTARTING, grace_seconds=9)
    padding = b"x" * 10_000
    large = client_frame(TEXT, b'{"event":"call.update","data":{"n":0,"p":"%b"}}' % padding)
    tracemalloc.start()
    for _ in range(100):
        peer.transport.feed(large)
        await wait_all_tasks_blocked()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000
    assert peer.transport.unread_bytes == 0
    assert await numbers(subscriber) == []
    peer.transport.feed(client_frame(CLOSE, b"\x03\xf4"))
    await wait_all_tasks_blocked()
    assert peer.ended.is_set()


async def test_deleting_an_instance_disconnects_its_producers(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, peer = await open_producer(nursery, hub)
    hub.disconnect(1, INSTANCE_DELETED)
    assert await peer.close_code() == 4504


async def test_events_received_before_a_revocation_are_published(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The close is sent at once, also under back-pressure; later events are discarded."""
    hub = Hub("http://ryze.test")
    subscriber = await open_subscriber(nursery, hub)
    _, peer = await open_producer(nursery, hub)
    for n in range(64):
        hub.publish(1, Event("call.update", b'{"n":%d}' % n))
    peer.transport.feed(event(64) + event(65))
    await wait_all_tasks_blocked()
    hub.follow(AccountTokenRevoked(PRODUCER_TOKEN_HASH))
    peer.transport.feed(event(66))
    assert await peer.close_code() == 4501
    nursery.start_soon(hub.run)
    assert await numbers(subscriber) == list(range(66))
    await peer.ended.wait()


async def test_the_server_negotiates_no_compression_with_a_producer(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    request = upgrade(sec_websocket_extensions="permessage-deflate")
    request = type(request)(method="GET", target="/ws/shop/publish", headers=list(request.headers))
    peer = Peer(FakeTransport())
    server = open_server(hub, compression=True)
    nursery.start_soon(serve_upgrade, server, peer.transport, request)
    await wait_all_tasks_blocked()
    assert b" 101 " in peer.head
    assert b"permessage-deflate" not in peer.head
    assert hub.statistics() == EMPTY_HUB
    assert hub.connection_count(1) == 1
    assert server.connections == 1


# --- Cancelled at each await ---


async def quick_producer(peer: Peer) -> None:
    peer.transport.feed(b"".join(event(n) for n in range(20)))
    peer.send(Ping(b"1"))
    await trio.sleep(31)
    peer.transport.feed(event(20))
    peer.send(CloseConnection(1000))


async def producer_under_back_pressure(peer: Peer) -> None:
    for n in range(200):
        peer.transport.feed(event(n))
        if n % 40 == 0:
            await trio.lowlevel.checkpoint()
    peer.transport.feed_eof()


async def producer_of_single_bytes(peer: Peer) -> None:
    for byte in event(0) + event(1):
        peer.transport.feed(bytes([byte]))
        await trio.lowlevel.checkpoint()
    peer.transport.fail()


async def producer_of_an_invalid_event(peer: Peer) -> None:
    peer.transport.feed(event(0) + client_frame(TEXT, b"{}"))
    await trio.sleep(1)
    peer.send(CloseConnection(1000))


@pytest.mark.parametrize(
    "scenario",
    [
        quick_producer,
        producer_under_back_pressure,
        producer_of_single_bytes,
        producer_of_an_invalid_event,
    ],
)
@pytest.mark.parametrize("subscribers", [1, 257])
def test_a_producer_cancelled_at_any_await_leaves_nothing_behind(
    scenario: Callable[[Peer], Awaitable[None]], subscribers: int
) -> None:
    """With one subscriber its events are fanned out on the spot, with 257 by the flush."""
    with capture_logs():
        assert cancel_at_every_step(partial(_run_cancelled, scenario, subscribers)) > 5


def _run_cancelled(
    scenario: Callable[[Peer], Awaitable[None]], subscribers: int, canceller: CancelAt
) -> None:
    async def main() -> None:
        hub = Hub("http://ryze.test")
        server = open_server(hub)
        peer, subscriber = Peer(FakeTransport()), Peer(FakeTransport())
        request = upgrade()
        request = type(request)(
            method="GET", target="/ws/shop/publish", headers=list(request.headers)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run)
            nursery.start_soon(serve_upgrade, server, subscriber.transport)
            with ExitStack() as others:
                for _ in range(subscribers - 1):
                    others.enter_context(hub.subscribed(make_instance(), _make_outbox()))
                await wait_all_tasks_blocked()
                task_count = trio.lowlevel.current_statistics().tasks_living
                scenario_scope = trio.CancelScope()
                nursery.start_soon(_run_scenario, scenario_scope, scenario, peer)
                await canceller.run(serve_upgrade, server, peer.transport, request)
                scenario_scope.cancel()
                await wait_all_tasks_blocked()
                assert peer.transport.closed
                assert server.connections == 1
                assert hub.connection_count(1) == subscribers
                assert trio.lowlevel.current_statistics().tasks_living == task_count
                # The first events were published, without a gap, and publishing still works.
                published = await numbers(subscriber)
                assert published == list(range(len(published)))
                assert await publish(hub, 1, [Event("call.update", b'{"n":-1}')]) == subscribers
                assert await numbers(subscriber) == [-1]
            nursery.cancel_scope.cancel()
        assert hub.statistics() == EMPTY_HUB
        assert hub.connection_count(1) == 0

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[canceller])


def _make_outbox() -> Outbox:
    return Outbox(
        FakeTransport(), OutboxLimits(), PLAIN, start_writer=lambda: None, on_close=lambda: None
    )


async def _run_scenario(
    scope: trio.CancelScope, scenario: Callable[[Peer], Awaitable[None]], peer: Peer
) -> None:
    with scope:
        await wait_all_tasks_blocked()
        await scenario(peer)
