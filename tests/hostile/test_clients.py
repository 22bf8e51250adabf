"""Clients that are let in and then misbehave: each is bounded, and nobody else notices."""

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
from tests.hostile.crowd import Crowd, resident_bytes
from tests.hub.operations import publish
from tests.websocket.harness import EVENT, HEAD, Peer, open_connection

CONTINUATION, TEXT, BINARY, PING = 0, 1, 2, 9


@pytest.fixture
def hub(nursery: trio.Nursery) -> Hub:
    hub = Hub("http://ryze.test")
    nursery.start_soon(hub.run)
    return hub


@contextmanager
def flat_memory(most_bytes: int) -> Iterator[None]:
    """What is done inside takes no more than that, in the end as well as on the way."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
        assert peak - before <= most_bytes
    finally:
        tracemalloc.stop()


class TestWhoDoesNotRead:
    async def test_a_thousand_are_dropped_by_the_same_event(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        limits = ConnectionLimits(ping_interval_seconds=3600, pong_timeout_seconds=7200)
        _, healthy = await open_connection(nursery, hub, limits)
        stuck = [
            (await open_connection(nursery, hub, limits, transport=FakeTransport(len(HEAD))))[1]
            for _ in range(1000)
        ]
        for _ in range(256):
            assert await publish(hub, 1, [EVENT]) == 1001
        assert hub.statistics().pending == 256_000
        assert await publish(hub, 1, [EVENT]) == 1
        assert hub.statistics().pending == 0
        # After the close grace nothing of them is left.
        await trio.sleep(2.1)
        assert all(peer.ended.is_set() and peer.transport.aborted for peer in stuck)
        assert len(await healthy.texts()) == 257
        nursery.cancel_scope.cancel()

    async def test_one_that_reads_a_byte_a_second(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        limits = ConnectionLimits(ping_interval_seconds=3600, pong_timeout_seconds=7200)
        _, healthy = await open_connection(nursery, hub, limits)
        _, slow = await open_connection(nursery, hub, limits, transport=FakeTransport(len(HEAD)))
        await publish(hub, 1, [EVENT])
        (frame,), _ = server_frames(healthy.wire)
        size = len(frame.raw)
        for published in count(1):
            await trio.sleep(1)
            slow.transport.read(1)
            await wait_all_tasks_blocked()
            # On paper: a byte has been taken for each event so far.
            pending = published - published // size
            clients = await publish(hub, 1, [EVENT])
            assert clients == (2 if pending < 256 else 1)
            if clients == 1:
                break
        assert len(await healthy.texts()) == published + 1
        nursery.cancel_scope.cancel()

    def test_memory_does_not_grow_with_them(self, start_process: StartProcess) -> None:
        process = start_process(global_rate_limit="", log_level="info")
        token = process.create_instance("demo")
        trio.run(let_a_thousand_lag, process, token)

    async def test_pings_without_end_wait_as_one_pong(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        connection, peer = await open_connection(nursery, hub, transport=FakeTransport(len(HEAD)))
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
        # The first was half-way out when the others came; of these the newest.
        assert bytes(pongs[-1]) == b"3999"
        assert len(pongs) <= 2
        assert len(await healthy.texts()) == 1
        nursery.cancel_scope.cancel()


# What a thousand clients may have pending of this is 2 GiB, if each had its own.
LARGE = {"event": "call.update", "data": {"padding": "x" * 8192}}


async def flood_with_fragments(peer: Peer, size: int) -> None:
    """A message in 5,000 fragments of so many bytes: 5,000 bytes are allowed."""
    peer.transport.feed(client_frame(TEXT, b"x" * size, fin=False))
    fragments = client_frame(CONTINUATION, b"x" * size, fin=False) * 200
    with flat_memory(500_000):
        for _ in range(24):
            peer.transport.feed(fragments)
            await wait_all_tasks_blocked()
    peer.transport.feed(client_frame(CONTINUATION, b"x" * 199 * size, fin=False))
    assert await peer.settled() == []
    peer.transport.feed(client_frame(CONTINUATION, b"x" * size, fin=False))
    ends = [event.code for event in await peer.settled() if isinstance(event, CloseConnection)]
    assert ends == ([1009] if size else [])


async def let_a_thousand_lag(process: Process, token: str) -> None:
    in_thread = trio.to_thread.run_sync
    async with Crowd(process) as crowd, trio.open_nursery() as nursery:
        await crowd.connect_many(1000, "/ws/demo", token, window=4096)
        healthy = await crowd.connect("/ws/demo", token)
        nursery.start_soon(healthy.read_all)
        before = resident_bytes(process)
        highest, clients, published = 0, 1001, 0
        while clients > 1:
            published += 1
            clients = await in_thread(process.publish, "demo", LARGE)
            highest = max(highest, resident_bytes(process))
        assert highest - before < 64 * 1024 * 1024
        # They are gone, and it is not.
        assert await in_thread(process.publish, "demo", LARGE) == 1
        process.terminate()
    assert healthy.farewell == 1012
    assert len(healthy.data) == published + 1


class TestWhoSendsWithoutEnd:
    async def test_messages_of_64_kib(self, server: Server, demo: str) -> None:
        client = await server.connect()
        greedy = await server.connect()
        message = client_frame(BINARY, b"x" * 65536)
        with flat_memory(2_000_000):
            for number in range(15):
                await greedy.stream.send_all(message * 4)
                await server.publish({"n": number})
                assert await client.data() == {"n": number}
        assert await greedy.data() == {"n": 0}

    @pytest.mark.parametrize("size", [0, 1])
    async def test_fragments_of_a_message(
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
    async def test_fragments_of_an_event(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, size: int
    ) -> None:
        peer = Peer(FakeTransport())
        publisher = Producer(
            peer.transport, ConnectionLimits(message_bytes=5_000), Publisher(hub), draw=lambda: 0.5
        )
        nursery.start_soon(publisher.run, hub, make_instance(), HEAD, b"")
        await wait_all_tasks_blocked()
        await flood_with_fragments(peer, size)
        nursery.cancel_scope.cancel()


async def test_peers_that_are_gone_without_a_word_end_with_the_heartbeat(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, healthy = await open_connection(nursery, hub)
    nursery.start_soon(healthy.answer_pings)
    gone = [(await open_connection(nursery, hub))[1] for _ in range(200)]
    # What is sent to them is taken by the network, for ever.
    for _ in range(59):
        await trio.sleep(1)
        assert await publish(hub, 1, [EVENT]) == 201
    await trio.sleep(1.5)
    assert await publish(hub, 1, [EVENT]) == 1
    for peer in gone:
        assert server_frames(peer.wire)[0][-1].close_code == 4009
    await trio.sleep(2)
    assert all(peer.ended.is_set() for peer in gone)
    assert hub.statistics().subscribers == 1
    nursery.cancel_scope.cancel()
