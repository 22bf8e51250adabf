"""Admitted clients that misbehave: each is limited, and no other client is affected."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, Pong, TextMessage

from ryze.hub.hub import Hub
from ryze.publishing.publisher import Publisher
from ryze.websocket.connection import ConnectionLimits
from ryze.websocket.producer import Producer
from tests.conftest import Server
from tests.e2e.harness import Server as Process
from tests.e2e.harness import StartServer as StartProcess
from tests.fakes import FakeTransport, client_frame, make_instance, server_frames
from tests.hostile.mass_clients import MassClients, resident_bytes
from tests.hub.harness import publish
from tests.websocket.harness import EVENT, RESPONSE_HEAD, Peer, open_connection

CONTINUATION, TEXT, BINARY, PING = 0, 1, 2, 9


@contextmanager
def flat_memory(most_bytes: int) -> Iterator[None]:
    """Check that peak memory within the block grows by at most `most_bytes`."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
        assert peak - before <= most_bytes
    finally:
        tracemalloc.stop()


class TestSlowConsumers:
    async def test_thousand_slow_consumers_are_evicted_by_the_same_event(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        limits = ConnectionLimits(ping_interval_seconds=3600, pong_timeout_seconds=7200)
        _, healthy = await open_connection(nursery, hub, limits)
        slow = [
            (
                await open_connection(
                    nursery, hub, limits, transport=FakeTransport(len(RESPONSE_HEAD))
                )
            )[1]
            for _ in range(1000)
        ]
        for _ in range(256):
            assert await publish(hub, 1, [EVENT]) == 1001
        assert hub.statistics().pending == 256_000
        assert await publish(hub, 1, [EVENT]) == 1
        assert hub.statistics().pending == 0
        # After the close grace all have been aborted.
        await trio.sleep(2.1)
        assert all(peer.ended.is_set() and peer.transport.aborted for peer in slow)
        assert len(await healthy.texts()) == 257
        nursery.cancel_scope.cancel()

    async def test_consumer_reading_one_byte_per_second_is_evicted_at_256_pending(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        limits = ConnectionLimits(ping_interval_seconds=3600, pong_timeout_seconds=7200)
        _, healthy = await open_connection(nursery, hub, limits)
        _, slow = await open_connection(
            nursery, hub, limits, transport=FakeTransport(len(RESPONSE_HEAD))
        )
        await publish(hub, 1, [EVENT])
        (frame,), _ = server_frames(healthy.received)
        size = len(frame.raw)
        for published in count(1):
            await trio.sleep(1)
            slow.transport.read(1)
            await wait_all_tasks_blocked()
            # One byte has been taken per published event.
            pending = published - published // size
            clients = await publish(hub, 1, [EVENT])
            assert clients == (2 if pending < 256 else 1)
            if clients == 1:
                break
        assert len(await healthy.texts()) == published + 1
        nursery.cancel_scope.cancel()

    def test_memory_does_not_grow_with_the_number_of_slow_consumers(
        self, start_process: StartProcess
    ) -> None:
        process = start_process(global_rate_limit="", log_level="info")
        token = process.create_instance("demo")
        trio.run(publish_until_slow_consumers_are_evicted, process, token)

    async def test_at_most_one_pong_is_pending(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        connection, peer = await open_connection(
            nursery, hub, transport=FakeTransport(len(RESPONSE_HEAD))
        )
        _, healthy = await open_connection(nursery, hub)
        with flat_memory(200_000):
            for number in range(0, 4000, 100):
                peer.transport.feed(
                    b"".join(client_frame(PING, b"%d" % n) for n in range(number, number + 100))
                )
                await wait_all_tasks_blocked()
        assert await publish(hub, 1, [EVENT]) == 2
        assert connection.outbox.pending == 1
        peer.transport.read()
        await wait_all_tasks_blocked()
        pongs = [event.payload for event in peer.receive() if isinstance(event, Pong)]
        # The first was being written when the others came; of those only the newest is kept.
        assert bytes(pongs[-1]) == b"3999"
        assert len(pongs) <= 2
        assert len(await healthy.texts()) == 1
        nursery.cancel_scope.cancel()


# Pending 256 times for 1,000 clients this is 2 GiB, if each had a copy of its own.
LARGE = {"event": "call.update", "data": {"padding": "x" * 8192}}


async def flood_with_fragments(peer: Peer, size: int) -> None:
    """Send a message in 4,800 fragments of `size` bytes; the last exceeds the limit of 5,000."""
    peer.transport.feed(client_frame(TEXT, b"x" * size, fin=False))
    fragments = client_frame(CONTINUATION, b"x" * size, fin=False) * 200
    with flat_memory(500_000):
        for _ in range(24):
            peer.transport.feed(fragments)
            await wait_all_tasks_blocked()
    peer.transport.feed(client_frame(CONTINUATION, b"x" * 199 * size, fin=False))
    assert await peer.settled() == []
    peer.transport.feed(client_frame(CONTINUATION, b"x" * size, fin=False))
    close_codes = [
        event.code for event in await peer.settled() if isinstance(event, CloseConnection)
    ]
    assert close_codes == ([1009] if size else [])


async def publish_until_slow_consumers_are_evicted(process: Process, token: str) -> None:
    in_thread = trio.to_thread.run_sync
    async with MassClients(process) as mass, trio.open_nursery() as nursery:
        await mass.connect_many(1000, "/ws/demo", token, receive_buffer=4096)
        healthy = await mass.connect("/ws/demo", token)
        nursery.start_soon(healthy.read_all)
        before = resident_bytes(process)
        highest, receivers, published = 0, 1001, 0
        while receivers > 1:
            published += 1
            receivers = await in_thread(process.publish, "demo", LARGE)
            highest = max(highest, resident_bytes(process))
        assert highest - before < 64 * 1024 * 1024
        # Only the healthy subscriber is left.
        assert await in_thread(process.publish, "demo", LARGE) == 1
        process.terminate()
    assert healthy.close_code == 1012
    assert len(healthy.data) == published + 1


class TestFloods:
    async def test_flood_of_64_kib_messages(self, server: Server, demo: str) -> None:
        client = await server.connect()
        flooding = await server.connect()
        message = client_frame(BINARY, b"x" * 65536)
        with flat_memory(2_000_000):
            for number in range(15):
                await flooding.stream.send_all(message * 4)
                await server.publish({"n": number})
                assert await client.data() == {"n": number}
        assert await flooding.data() == {"n": 0}

    @pytest.mark.parametrize("size", [0, 1])
    async def test_flood_of_fragments_from_a_subscriber(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, size: int
    ) -> None:
        limits = ConnectionLimits(message_bytes=5_000)
        _, peer = await open_connection(nursery, hub, limits)
        _, healthy = await open_connection(nursery, hub)
        await flood_with_fragments(peer, size)
        assert await publish(hub, 1, [EVENT]) == (1 if size else 2)
        assert [type(event) for event in await healthy.settled()] == [TextMessage]
        nursery.cancel_scope.cancel()

    @pytest.mark.parametrize("size", [0, 1])
    async def test_flood_of_fragments_from_a_producer(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, size: int
    ) -> None:
        peer = Peer(FakeTransport())
        producer = Producer(
            peer.transport, ConnectionLimits(message_bytes=5_000), Publisher(hub), draw=lambda: 0.5
        )
        nursery.start_soon(producer.run, hub, make_instance(), RESPONSE_HEAD, b"")
        await wait_all_tasks_blocked()
        await flood_with_fragments(peer, size)
        nursery.cancel_scope.cancel()


async def test_lost_connections_are_closed_by_the_heartbeat(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, healthy = await open_connection(nursery, hub)
    nursery.start_soon(healthy.answer_pings)
    lost = [(await open_connection(nursery, hub))[1] for _ in range(200)]
    # Their transports still take every byte, as a network does.
    for _ in range(59):
        await trio.sleep(1)
        assert await publish(hub, 1, [EVENT]) == 201
    await trio.sleep(1.5)
    assert await publish(hub, 1, [EVENT]) == 1
    for peer in lost:
        assert server_frames(peer.received)[0][-1].close_code == 4009
    await trio.sleep(2)
    assert all(peer.ended.is_set() for peer in lost)
    assert hub.statistics().subscribers == 1
    nursery.cancel_scope.cancel()
