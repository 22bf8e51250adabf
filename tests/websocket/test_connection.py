"""A subscriber's connection: heartbeat, protocol errors, closing handshake, aborts and bugs."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    TextMessage,
)

from ryze.disconnects import (
    CLIENT_CLOSED,
    CONNECTION_LOST,
    INSTANCE_DELETED,
    MESSAGE_TOO_BIG,
    NO_HEARTBEAT,
    RESTARTING,
    SLOW_CONSUMER,
)
from ryze.hub.batch import Messages
from ryze.hub.hub import Hub, HubStatistics
from ryze.hub.outbox import OutboxLimits
from ryze.websocket.connection import ConnectionLimits
from ryze.websocket.subscriber import Subscriber
from tests.cancelling import CancelAt, cancel_at_every_step
from tests.fakes import FakeTransport, PieceTransport, client_frame, make_instance, server_frames
from tests.hub.harness import EMPTY_HUB, publish
from tests.websocket.harness import (
    EVENT,
    RESPONSE_HEAD,
    Peer,
    open_connection,
    open_server,
    serve_upgrade,
    upgrade,
)

CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9


# --- Heartbeat ---


@pytest.mark.parametrize("draw", [0.0, 0.25, 0.999])
async def test_the_first_ping_comes_at_a_random_point_then_one_per_interval(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, draw: float
) -> None:
    start = trio.current_time()
    _, peer = await open_connection(nursery, hub, draw=draw)
    for n in range(4):
        await trio.sleep_until(start + 30 * (draw + n) - 0.001)
        assert draw == n == 0 or await peer.settled() == []
        await trio.sleep_until(start + 30 * (draw + n))
        (ping,) = await peer.settled()
        assert isinstance(ping, Ping)
        peer.send(ping.response())


async def test_a_silent_subscriber_is_disconnected_after_exactly_60_seconds(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    connection, peer = await open_connection(nursery, hub)
    await trio.sleep_until(start + 59.999)
    assert connection.outbox.disconnect is None
    await trio.sleep_until(start + 60)
    assert await peer.close_code() == 4009
    assert connection.outbox.disconnect is NO_HEARTBEAT
    assert hub.statistics() == EMPTY_HUB
    await peer.ended.wait()
    assert trio.current_time() == start + 62


async def test_any_byte_counts_as_a_heartbeat(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    connection, peer = await open_connection(nursery, hub)
    frame = client_frame(TEXT, b"hi")
    for byte in frame:
        await trio.sleep(59.9)
        peer.transport.feed(bytes([byte]))
    await trio.sleep(59.9)
    assert connection.outbox.disconnect is None
    await trio.sleep(0.1)
    await peer.ended.wait()
    assert trio.current_time() == pytest.approx(start + 59.9 * len(frame) + 60 + 2)


async def test_an_idle_subscriber_that_sends_pongs_stays_connected_for_10_minutes(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, peer = await open_connection(nursery, hub)
    nursery.start_soon(peer.answer_pings)
    await trio.sleep(600)
    assert connection.outbox.disconnect is None
    assert await publish(hub, 1, [EVENT]) == 1


async def test_events_sent_to_the_subscriber_are_no_heartbeat(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, _ = await open_connection(nursery, hub)
    for _ in range(61):
        await publish(hub, 1, [EVENT])
        await trio.sleep(1)
    assert connection.outbox.disconnect is NO_HEARTBEAT


async def test_a_ping_gets_its_pong_at_once(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, peer = await open_connection(nursery, hub)
    now = trio.current_time()
    peer.send(Ping(b"are you there?"))
    assert await peer.settled() == [Pong(b"are you there?")]
    assert trio.current_time() == now


async def test_bytes_behind_the_request_head_are_read(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, peer = await open_connection(nursery, hub, trailing=client_frame(PING, b"early"))
    assert await peer.settled() == [Pong(b"early")]


# --- Messages and protocol errors ---


async def test_messages_are_validated_and_ignored(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, peer = await open_connection(nursery, hub)
    peer.send(TextMessage("Grüße" * 1000))
    peer.send(BytesMessage(bytes(65536)))
    peer.send(BytesMessage(bytes(65536)))
    assert await peer.settled() == []
    assert connection.outbox.disconnect is None


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("parts", [[65536], [65535, 1], [1, 65535], [0, 30000, 30000, 5536]])
async def test_a_message_may_have_65536_bytes_and_no_more(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, opcode: int, parts: list[int]
) -> None:
    connection, peer = await open_connection(nursery, hub)
    for _ in range(2):
        for index, size in enumerate(parts):
            fin = index == len(parts) - 1
            peer.transport.feed(
                client_frame(CONTINUATION if index else opcode, b"x" * size, fin=fin)
            )
    assert await peer.settled() == []
    assert connection.outbox.disconnect is None
    for index, size in enumerate(parts):
        peer.transport.feed(client_frame(CONTINUATION if index else opcode, b"x" * size, fin=False))
    peer.transport.feed(client_frame(CONTINUATION, b"x"))
    assert await peer.close_code() == 1009


async def test_the_size_of_a_text_is_counted_in_bytes(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, peer = await open_connection(nursery, hub)
    peer.send(TextMessage("é" * 32768))
    assert await peer.settled() == []
    peer.send(TextMessage("é" * 32768 + "x"))
    assert await peer.close_code() == 1009


async def test_a_ping_between_two_fragments_gets_its_pong(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, peer = await open_connection(nursery, hub)
    peer.transport.feed(client_frame(TEXT, b"\xc3", fin=False))
    peer.transport.feed(client_frame(PING, b"1"))
    peer.transport.feed(client_frame(CONTINUATION, b"\xa9"))
    assert await peer.settled() == [Pong(b"1")]
    assert connection.outbox.disconnect is None


BROKEN = {
    "not masked": (b"\x81\x02hi", 1002),
    "reserved bit": (client_frame(TEXT, b"x", rsv=4), 1002),
    "reserved opcode": (client_frame(3), 1002),
    "reserved control opcode": (client_frame(11), 1002),
    "continuation without a message": (client_frame(CONTINUATION, b"x"), 1002),
    "text inside a text": (client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y"), 1002),
    "ping in fragments": (client_frame(PING, fin=False), 1002),
    "long ping": (client_frame(PING, bytes(126)), 1002),
    "length not minimal": (b"\x81\xfe\x00\x05\0\0\0\0hello", 1002),
    "length negative": (b"\x82\xff" + b"\xff" * 8, 1002),
    "close with half a code": (client_frame(CLOSE, b"\x03"), 1002),
    "close with 1005": (client_frame(CLOSE, b"\x03\xed"), 1002),
    "close with 0": (client_frame(CLOSE, b"\0\0"), 1002),
    "close with bad text": (client_frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "bad text": (client_frame(TEXT, b"\xff"), 1007),
    "half a character": (client_frame(TEXT, b"\xc3"), 1007),
    "a surrogate": (client_frame(TEXT, b"\xed\xa0\x80"), 1007),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", 1002),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_protocol_error_ends_the_connection_with_its_close_code(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, case: str
) -> None:
    data, code = BROKEN[case]
    _, peer = await open_connection(nursery, hub)
    start = trio.current_time()
    for byte in data:
        peer.transport.feed(bytes([byte]))
        await wait_all_tasks_blocked()
    assert await peer.close_code() == code
    assert hub.statistics() == EMPTY_HUB
    # Further bytes are discarded.
    for _ in range(10):
        peer.transport.feed(data)
        await wait_all_tasks_blocked()
    await peer.ended.wait()
    assert trio.current_time() == start + 2
    assert peer.transport.closed
    assert not peer.transport.aborted


async def test_after_a_protocol_error_all_frames_are_discarded(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """RFC 6455, section 7.1.7: even a close frame; only the end of the stream counts."""
    _, peer = await open_connection(nursery, hub)
    peer.transport.feed(client_frame(3))
    assert await peer.close_code() == 1002
    peer.transport.feed(client_frame(CLOSE, b"\x03\xea"))
    await wait_all_tasks_blocked()
    assert not peer.ended.is_set()
    peer.transport.feed_eof()
    await wait_all_tasks_blocked()
    assert peer.ended.is_set()


# --- Closing handshake ---


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_a_close_by_the_subscriber_is_returned_and_the_socket_closed_at_once(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, code: int
) -> None:
    connection, peer = await open_connection(nursery, hub)
    start = trio.current_time()
    peer.send(CloseConnection(code, "bye"))
    assert await peer.close_code() == 1000
    assert peer.ended.is_set()
    assert trio.current_time() == start
    assert connection.outbox.disconnect is CLIENT_CLOSED
    assert peer.transport.closed
    assert not peer.transport.aborted


async def test_a_close_without_a_code_is_valid(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, peer = await open_connection(nursery, hub)
    peer.transport.feed(client_frame(CLOSE))
    assert await peer.close_code() == 1000
    assert peer.ended.is_set()


async def test_after_our_close_the_close_of_the_peer_is_awaited(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, peer = await open_connection(nursery, hub)
    connection.disconnect(INSTANCE_DELETED)
    (close,) = await peer.settled()
    assert isinstance(close, CloseConnection)
    assert (close.code, close.reason) == (4504, "instance deleted")
    await trio.sleep(1)
    assert not peer.ended.is_set()
    peer.transport.feed(client_frame(TEXT, b"sent before our close arrived"))
    await wait_all_tasks_blocked()
    peer.send(close.response())
    await wait_all_tasks_blocked()
    assert peer.ended.is_set()
    assert peer.transport.closed


async def test_a_peer_that_reads_but_never_closes_is_closed_after_the_grace(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, peer = await open_connection(nursery, hub)
    start = trio.current_time()
    connection.disconnect(INSTANCE_DELETED)
    await peer.ended.wait()
    assert trio.current_time() == start + 2
    assert not peer.transport.aborted


async def test_a_peer_that_does_not_read_is_aborted_after_the_grace(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    for transport in (FakeTransport(len(RESPONSE_HEAD)), PieceTransport(len(RESPONSE_HEAD))):
        connection, peer = await open_connection(nursery, hub, transport=transport)
        start = trio.current_time()
        connection.disconnect(INSTANCE_DELETED)
        await trio.sleep(1.999)
        assert not peer.ended.is_set()
        await peer.ended.wait()
        assert trio.current_time() == start + 2
        assert transport.aborted
        assert bytes(transport.taken) == RESPONSE_HEAD


@pytest.mark.parametrize("make", [FakeTransport, PieceTransport])
async def test_a_slow_consumer_that_reads_in_time_gets_the_rest_of_its_frame_and_4008(
    hub: Hub,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    make: Callable[[float], FakeTransport],
) -> None:
    limits = ConnectionLimits(OutboxLimits(messages=1))
    connection, peer = await open_connection(
        nursery, hub, limits, transport=make(len(RESPONSE_HEAD) + 5)
    )
    assert await publish(hub, 1, [EVENT]) == 1
    assert await publish(hub, 1, [EVENT]) == 0
    assert hub.statistics() == EMPTY_HUB
    await trio.sleep(1.9)
    peer.transport.read()
    await wait_all_tasks_blocked()
    frames, rest = server_frames(peer.received)
    assert [frame.opcode for frame in frames] == [TEXT, CLOSE]
    assert frames[1].close_code == 4008
    assert rest == b""
    assert connection.outbox.disconnect is SLOW_CONSUMER


async def test_a_slow_consumer_that_does_not_read_is_aborted_within_a_frame(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    limits = ConnectionLimits(OutboxLimits(messages=1))
    _, peer = await open_connection(
        nursery, hub, limits, transport=FakeTransport(len(RESPONSE_HEAD) + 5)
    )
    start = trio.current_time()
    await publish(hub, 1, [EVENT, EVENT])
    await peer.ended.wait()
    assert trio.current_time() == start + 2
    assert peer.transport.aborted
    assert len(peer.received) == 5


async def test_a_drain_sets_the_grace_once(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, peer = await open_connection(
        nursery, hub, transport=FakeTransport(len(RESPONSE_HEAD))
    )
    await publish(hub, 1, [EVENT])
    connection.disconnect(RESTARTING, grace_seconds=9)
    connection.disconnect(RESTARTING, grace_seconds=99)
    await trio.sleep(8.9)
    peer.transport.read()
    assert len(await peer.texts()) == 1
    await peer.ended.wait()
    assert not peer.transport.aborted


async def test_a_close_that_crosses_ours_completes_the_closing_handshake(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, peer = await open_connection(
        nursery, hub, transport=FakeTransport(len(RESPONSE_HEAD))
    )
    connection.disconnect(INSTANCE_DELETED)
    peer.transport.feed(client_frame(CLOSE, b"\x03\xe8"))
    await wait_all_tasks_blocked()
    assert not peer.ended.is_set()
    peer.transport.read()
    assert await peer.close_code() == 4504
    assert peer.ended.is_set()


@pytest.mark.parametrize("end", [FakeTransport.feed_eof, FakeTransport.fail])
async def test_a_lost_connection_ends_without_a_closing_handshake(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, end: Callable[[FakeTransport], None]
) -> None:
    connection, peer = await open_connection(
        nursery, hub, transport=FakeTransport(len(RESPONSE_HEAD))
    )
    await publish(hub, 1, [EVENT])
    start = trio.current_time()
    end(peer.transport)
    await wait_all_tasks_blocked()
    assert peer.ended.is_set()
    assert trio.current_time() == start
    assert connection.outbox.disconnect is CONNECTION_LOST
    assert peer.received == b""
    assert hub.statistics() == EMPTY_HUB


@pytest.mark.parametrize("end", [FakeTransport.feed_eof, FakeTransport.fail])
async def test_a_connection_lost_during_the_closing_handshake_ends_at_once(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, end: Callable[[FakeTransport], None]
) -> None:
    connection, peer = await open_connection(nursery, hub)
    connection.disconnect(INSTANCE_DELETED)
    await wait_all_tasks_blocked()
    end(peer.transport)
    await wait_all_tasks_blocked()
    assert peer.ended.is_set()


async def test_a_connection_lost_before_the_101_ends_at_once(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    transport = FakeTransport()
    transport.fail()
    connection, peer = await open_connection(nursery, hub, transport=transport)
    assert peer.ended.is_set()
    assert connection.outbox.disconnect is CONNECTION_LOST
    assert hub.statistics() == EMPTY_HUB


async def test_a_pending_101_is_sent_before_frames(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    _, peer = await open_connection(nursery, hub, transport=FakeTransport(3))
    await publish(hub, 1, [EVENT])
    peer.send(Ping(b"1"))
    await wait_all_tasks_blocked()
    peer.transport.read()
    pong, text = await peer.settled()
    assert isinstance(pong, Pong)
    assert isinstance(text, TextMessage)


async def test_frames_after_a_message_that_is_too_big_are_discarded(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    connection, peer = await open_connection(nursery, hub)
    peer.transport.feed(client_frame(BINARY, bytes(65537)))
    peer.transport.feed(client_frame(CLOSE, b"\x03\xe8"))
    assert await peer.close_code() == 1009
    assert connection.outbox.disconnect is MESSAGE_TOO_BIG
    assert peer.transport.eof_sent
    peer.transport.feed_eof()
    await wait_all_tasks_blocked()
    assert peer.ended.is_set()
    assert not peer.transport.aborted


# --- Bugs ---


async def connect(nursery: trio.Nursery, hub: Hub, transport: FakeTransport | None = None) -> Peer:
    """Connect through a server, which catches bugs of connections."""
    server = open_server(hub)
    peer = Peer(transport or FakeTransport())

    async def serve() -> None:
        await serve_upgrade(server, peer.transport)
        assert server.connections == 0
        peer.ended.set()

    nursery.start_soon(serve)
    await wait_all_tasks_blocked()
    return peer


async def test_a_bug_in_the_reader_ends_only_that_connection(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    class Broken(FakeTransport):
        async def receive_some(self) -> bytes:
            await super().receive_some()
            raise ZeroDivisionError

    other_peer = await connect(nursery, hub)
    peer = await connect(nursery, hub, Broken())
    with capture_logs() as logs:
        peer.send(Ping(b"boom"))
        assert await peer.close_code() == 1011
    assert peer.ended.is_set()
    failed, ended = logs
    assert failed["event"] == "connection failed"
    assert failed["log_level"] == "error"
    assert failed["connection"] == ended["connection"] == "ws-1"
    assert await publish(hub, 1, [EVENT]) == 1
    assert len(await other_peer.texts()) == 1


async def test_a_bug_in_the_writer_ends_only_that_connection(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    class Broken(FakeTransport):
        async def wait_writable(self) -> None:
            await super().wait_writable()
            raise ZeroDivisionError

    other_peer = await connect(nursery, hub)
    peer = await connect(nursery, hub, Broken(4))
    with capture_logs() as logs:
        await publish(hub, 1, [EVENT])
        peer.transport.read(1000)
        await wait_all_tasks_blocked()
    assert [log["event"] for log in logs] == ["connection failed", "disconnected"]
    assert peer.ended.is_set()
    # The 101 was partly written: nothing may follow.
    assert peer.transport.aborted
    assert len(peer.transport.taken) == 4
    assert hub.connection_count(1) == 1
    assert len(await other_peer.texts()) == 1


async def test_a_bug_that_shows_again_at_the_close_ends_only_that_connection(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    class BrokenAfterHandshake(FakeTransport):
        def send_nowait(self, data: bytes | memoryview) -> int:
            if self.taken:
                raise ZeroDivisionError
            return super().send_nowait(data)

    other_peer = await connect(nursery, hub)
    peer = await connect(nursery, hub, BrokenAfterHandshake())
    with capture_logs():
        assert await publish(hub, 1, [EVENT]) == 1
        await wait_all_tasks_blocked()
        assert peer.ended.is_set()
        assert await publish(hub, 1, [EVENT]) == 1
    assert len(await other_peer.texts()) == 2


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_cancelled_connection_ignores_offers_and_disconnects(
    hub: Hub, autojump_clock: MockClock, is_closed: bool
) -> None:
    """A flush or a drain may still have it in a list: neither may raise."""

    class OpenTransport(FakeTransport):
        def close(self) -> None:
            """Keep accepting calls, which a closed transport refuses."""

    transport = OpenTransport(len(RESPONSE_HEAD))
    connection = Subscriber(transport, ConnectionLimits(), compression=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run, hub, make_instance(), RESPONSE_HEAD, b"")
        await wait_all_tasks_blocked()
        assert hub.connection_count(1) == 1
        nursery.cancel_scope.cancel()
    if is_closed:
        connection.close()
    connection.outbox.offer(Messages([b"x"]))
    connection.disconnect(RESTARTING, grace_seconds=1)
    assert hub.statistics() == EMPTY_HUB


# --- Cancelled at each await ---


Scenario = Callable[[Peer, Hub], Awaitable[object]]


async def quick_subscriber(peer: Peer, hub: Hub) -> None:
    await publish(hub, 1, [EVENT, EVENT])
    peer.send(Ping(b"1"))
    await trio.sleep(31)
    peer.send(CloseConnection(1000))


async def slow_subscriber(peer: Peer, hub: Hub) -> None:
    peer.transport.stop_reading()
    await publish(hub, 1, [EVENT] * 3)
    for _ in range(8):
        peer.transport.read(40)
        peer.send(Ping(b"1"))
        await trio.lowlevel.checkpoint()
    await publish(hub, 1, [EVENT] * 5)
    await trio.sleep(3)


async def subscriber_that_does_not_read_its_close(peer: Peer, hub: Hub) -> None:
    peer.transport.stop_reading()
    peer.transport.read(5)
    await publish(hub, 1, [EVENT])
    for outbox in hub.outboxes()[1:]:
        outbox.close(INSTANCE_DELETED)
    await trio.sleep(1)
    peer.transport.read(20)


async def evicted_subscriber(peer: Peer, hub: Hub) -> None:
    peer.transport.stop_reading()
    await publish(hub, 1, [EVENT] * 300)
    await trio.sleep(1)
    peer.transport.read()
    await trio.sleep(2)


async def subscriber_with_a_protocol_error(peer: Peer, hub: Hub) -> None:
    peer.transport.feed(b"\x81\x02hi")
    await trio.sleep(1)
    peer.transport.feed_eof()


async def silent_subscriber(peer: Peer, hub: Hub) -> None:
    await trio.sleep(60)


@pytest.mark.parametrize("make", [FakeTransport, PieceTransport])
@pytest.mark.parametrize(
    "scenario",
    [
        quick_subscriber,
        slow_subscriber,
        subscriber_that_does_not_read_its_close,
        evicted_subscriber,
        subscriber_with_a_protocol_error,
        silent_subscriber,
    ],
)
def test_a_connection_cancelled_at_any_await_leaves_nothing_behind(
    scenario: Scenario, make: Callable[[float], FakeTransport]
) -> None:
    with capture_logs():
        assert cancel_at_every_step(partial(_run_cancelled, scenario, make)) > 5


def _run_cancelled(
    scenario: Scenario, make: Callable[[float], FakeTransport], canceller: CancelAt
) -> None:
    async def main() -> None:
        hub = Hub("http://ryze.test")
        server = open_server(hub)
        peer, other_peer = Peer(make(10**6)), Peer(FakeTransport())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run)
            nursery.start_soon(serve_upgrade, server, other_peer.transport, upgrade(), "192.0.2.2")
            nursery.start_soon(other_peer.answer_pings, 10)
            await wait_all_tasks_blocked()
            task_count = trio.lowlevel.current_statistics().tasks_living
            peer.transport.room = 100
            scenario_scope = trio.CancelScope()
            nursery.start_soon(_run_scenario, scenario, peer, hub, scenario_scope)
            await canceller.run(serve_upgrade, server, peer.transport)
            scenario_scope.cancel()
            await wait_all_tasks_blocked()
            assert peer.transport.closed
            _check_frames(peer)
            await trio.sleep(5)
            assert trio.lowlevel.current_statistics().tasks_living == task_count
            # The other subscriber is still served.
            assert await publish(hub, 1, [EVENT]) == 1
            assert hub.statistics() == HubStatistics(1, 1, 0, 0, 0, 0)
            assert server.connections == 1
            nursery.cancel_scope.cancel()
        assert hub.statistics() == EMPTY_HUB
        assert server.connections == 0

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[canceller])


async def _run_scenario(scenario: Scenario, peer: Peer, hub: Hub, scope: trio.CancelScope) -> None:
    with scope:
        while b"\r\n\r\n" not in peer.transport.taken:
            peer.transport.read(30)
            await trio.sleep(0.01)
        await scenario(peer, hub)


def _check_frames(peer: Peer) -> None:
    """The peer received whole frames, and at most the beginning of one more."""
    frames, rest = server_frames(peer.received)
    documents = {frame.raw for frame in frames if frame.opcode == TEXT}
    assert len(documents) <= 1
    for document in documents:
        assert document.endswith(b'"token":"token-1"}}')
        assert not rest or rest[0] != document[0] or document.startswith(rest)


def test_the_instance_of_these_tests_lets_every_event_pass() -> None:
    config: Any = make_instance().websocket
    assert config.enabled
    assert not config.events
