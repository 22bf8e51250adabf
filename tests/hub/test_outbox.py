"""The outbox: the message at which a slow consumer is evicted, and the bytes that are sent."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.disconnects import (
    ALL,
    CONNECTION_LOST,
    INSTANCE_DELETED,
    INTERNAL_ERROR,
    NO_HEARTBEAT,
    RESTARTING,
    SLOW_CONSUMER,
    Disconnect,
)
from ryze.hub.batch import Messages
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.websocket.server_frames import close_frame, ping_frame, pong_frame, text_frame
from ryze.websocket.views import PLAIN
from tests.fakes import FakeTransport, PieceTransport, server_frames
from tests.strategies import disconnects, frame_sizes

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class FakeConnection:
    """An outbox with its writer, and the peer's end of a fake transport."""

    def __init__(
        self, nursery: trio.Nursery, transport: FakeTransport, limits: OutboxLimits
    ) -> None:
        self.transport = transport
        self.closed: list[Disconnect | None] = []
        # All messages that were offered, in order.
        self.offered: list[bytes] = []
        self.outbox = Outbox(
            transport,
            limits,
            PLAIN,
            start_writer=lambda: nursery.start_soon(self.outbox.write),
            on_close=lambda: self.closed.append(self.outbox.disconnect),
        )

    def offer(self, *sizes: int) -> bool:
        """Offer frames with payloads of these sizes, each with different content."""
        frames = [text_frame(self._payload(size, i)) for i, size in enumerate(sizes)]
        self.offered += frames
        return self.outbox.offer(Messages(frames))

    def _payload(self, size: int, index: int) -> bytes:
        number = b"%d;" % (len(self.offered) + index)
        return (number * (size // len(number) + 1))[:size]

    async def read(self, count: float) -> None:
        """The peer reads `count` bytes, and the writer writes as many."""
        self.transport.read(count)
        await wait_all_tasks_blocked()

    @property
    def arrived(self) -> int:
        """Messages whose last byte the transport has reported as taken."""
        frames, _ = server_frames(self.transport.taken[: self.transport.reported])
        return sum(frame.opcode == TEXT for frame in frames)

    @property
    def sent_frames(self) -> list[bytes]:
        frames, rest = server_frames(self.transport.taken)
        assert rest == b""
        return [frame.raw for frame in frames]


@asynccontextmanager
async def open_connection(
    transport: FakeTransport, *, messages: int = 256, bytes: int = 64 * 1024 * 1024
) -> AsyncIterator[FakeConnection]:
    async with trio.open_nursery() as nursery:
        yield FakeConnection(nursery, transport, OutboxLimits(messages, bytes))
        nursery.cancel_scope.cancel()


def run(main: Callable[..., Any], *args: object) -> None:
    trio.run(main, *args, clock=MockClock(autojump_threshold=0))


# --- Limits ---


async def test_a_slow_consumer_is_evicted_by_the_offer_that_finds_256_pending() -> None:
    async with open_connection(FakeTransport(0)) as connection:
        for _ in range(256):
            assert connection.offer(10)
        assert connection.outbox.pending == 256
        assert connection.outbox.pending_bytes == 256 * 12
        assert not connection.offer(10)
        assert connection.closed == [SLOW_CONSUMER]
        assert connection.outbox.pending == 0
        assert not connection.offer(10)
        await connection.read(10_000)
        assert connection.sent_frames == [close_frame(SLOW_CONSUMER)]


async def test_messages_of_a_batch_count_one_by_one() -> None:
    async with open_connection(FakeTransport(0)) as connection:
        assert connection.offer(*[10] * 64)
        assert connection.offer(*[10] * 64)
        assert connection.offer(*[10] * 64)
        assert connection.offer(*[10] * 63)
        assert connection.outbox.pending == 255
        assert not connection.offer(10, 10)


async def test_the_overflowing_message_can_be_computed() -> None:
    """1000 bytes of room, frames of 12: 83 are sent, 4 bytes of the 84th, so 84 + 256 overflow."""
    async with open_connection(FakeTransport(1000)) as connection:
        accepted = 0
        while connection.offer(10):
            accepted += 1
            await wait_all_tasks_blocked()
        assert accepted == 83 + 256
        assert connection.outbox.pending == 1
        await connection.read(10_000)
        assert connection.sent_frames == [*connection.offered[:84], close_frame(SLOW_CONSUMER)]


async def test_a_message_is_pending_until_its_last_byte_is_taken() -> None:
    async with open_connection(FakeTransport(11), messages=1) as connection:
        assert connection.offer(10)
        assert connection.outbox.pending == 1
        await connection.read(1)
        assert connection.outbox.pending == 0
        assert connection.offer(10)
        await connection.read(11)
        assert not connection.offer(0)


async def test_messages_in_flight_are_pending() -> None:
    async with open_connection(FakeTransport(0)) as connection:
        connection.offer(*[10] * 64)
        await wait_all_tasks_blocked()
        await connection.read(5)
        assert connection.outbox.pending == 64
        for _ in range(192):
            assert connection.offer(10)
        assert not connection.offer(10)


async def test_an_offer_that_finds_the_byte_limit_reached_is_an_overflow() -> None:
    async with open_connection(FakeTransport(0), bytes=24) as connection:
        assert connection.offer(10)
        assert connection.offer(9)
        assert connection.outbox.pending_bytes == 23
        assert connection.offer(10)
        assert connection.outbox.pending_bytes == 35
        assert not connection.offer(0)
    async with open_connection(FakeTransport(0), bytes=24) as connection:
        assert connection.offer(10, 10)
        assert connection.outbox.pending_bytes == 24
        assert not connection.offer(0)


async def test_a_frame_over_the_byte_limit_is_accepted_when_nothing_is_pending() -> None:
    async with open_connection(FakeTransport(7), bytes=100) as connection:
        assert connection.offer(70_000)
        assert not connection.outbox.is_empty
        await connection.read(80_000)
        assert connection.outbox.is_empty
        assert connection.sent_frames == connection.offered
        connection.transport.stop_reading()
        assert connection.offer(70_000)
        assert not connection.offer(1)


@pytest.mark.parametrize("messages", [1, 5, 64])
async def test_messages_committed_in_a_tls_record_count_one_by_one(messages: int) -> None:
    """A record can hold many messages of a batch."""
    for count in (messages, messages + 1):
        async with open_connection(PieceTransport(0), messages=messages) as connection:
            assert connection.offer(*[10] * count) == (count <= messages)
        async with open_connection(
            PieceTransport(0), messages=1000, bytes=12 * messages
        ) as connection:
            assert connection.offer(*[10] * count) == (count <= messages)


async def test_after_a_lost_connection_nothing_is_pending_and_nothing_is_sent() -> None:
    for transport in (FakeTransport(5), PieceTransport(5)):
        async with open_connection(transport) as connection:
            connection.offer(*[10] * 9)
            await wait_all_tasks_blocked()
            transport.fail()
            await wait_all_tasks_blocked()
            assert connection.closed == [CONNECTION_LOST]
            assert connection.outbox.pending == connection.outbox.pending_bytes == 0
            assert connection.outbox.is_empty
            assert len(transport.taken) == 5


@pytest.mark.parametrize(
    "send",
    [
        FakeConnection.offer,
        lambda connection: connection.outbox.send_heartbeat(ping_frame()),
        lambda connection: connection.outbox.send_reply(pong_frame(b"x")),
        lambda connection: connection.outbox.send_handshake(b"HTTP"),
        lambda connection: connection.outbox.close(NO_HEARTBEAT),
    ],
)
async def test_any_send_notices_a_lost_connection(send: Callable[..., object]) -> None:
    transport = FakeTransport()
    async with open_connection(transport) as connection:
        transport.fail()
        assert not send(connection)
        assert connection.closed in ([CONNECTION_LOST], [NO_HEARTBEAT])
        await wait_all_tasks_blocked()
        assert connection.outbox.is_empty
        assert not transport.taken


async def test_the_handshake_response_is_sent_before_everything_else() -> None:
    for transport in (FakeTransport(0), FakeTransport(3), FakeTransport(), PieceTransport(3)):
        async with open_connection(transport) as connection:
            connection.outbox.send_handshake(b"HTTP/1.1 101\r\n\r\n")
            connection.outbox.send_heartbeat(ping_frame())
            connection.offer(3)
            connection.outbox.send_reply(pong_frame(b"x"))
            await connection.read(1000)
            assert transport.taken.startswith(b"HTTP/1.1 101\r\n\r\n")
            rest = [frame.opcode for frame in server_frames(transport.taken[16:])[0]]
            assert sorted(rest) == [TEXT, PING, PONG]
            assert connection.outbox.pending == 0


async def test_a_newer_reply_replaces_a_pending_one_and_one_heartbeat_waits() -> None:
    async with open_connection(FakeTransport(1)) as connection:
        connection.offer(10)
        for number in range(100):
            connection.outbox.send_reply(pong_frame(b"%d" % number))
            connection.outbox.send_heartbeat(ping_frame())
        connection.offer(10)
        await connection.read(1000)
        assert connection.sent_frames == [
            connection.offered[0],
            pong_frame(b"99"),
            ping_frame(),
            connection.offered[1],
        ]


async def test_a_reply_is_sent_before_the_rest_of_a_backlog() -> None:
    async with open_connection(FakeTransport(0)) as connection:
        connection.offer(*[10_000] * 20)
        await wait_all_tasks_blocked()
        connection.outbox.send_reply(pong_frame(b"here"))
        await connection.read(80_000)
        assert pong_frame(b"here") in [f.raw for f in server_frames(connection.transport.taken)[0]]


async def test_only_a_drain_sends_all_pending_messages_before_the_close() -> None:
    async with open_connection(FakeTransport(15)) as connection:
        connection.offer(10, 10, 10)
        connection.outbox.close(RESTARTING)
        await connection.read(1000)
        assert connection.sent_frames == [*connection.offered, close_frame(RESTARTING)]
    async with open_connection(FakeTransport(15)) as connection:
        connection.offer(10, 10, 10)
        connection.outbox.close(INSTANCE_DELETED)
        await connection.read(1000)
        assert connection.sent_frames == [*connection.offered[:2], close_frame(INSTANCE_DELETED)]


async def test_pending_pings_and_pongs_are_discarded_by_a_close() -> None:
    async with open_connection(FakeTransport(5)) as connection:
        connection.offer(10)
        connection.outbox.send_heartbeat(ping_frame())
        connection.outbox.send_reply(pong_frame(b"x"))
        connection.outbox.close(NO_HEARTBEAT)
        connection.outbox.send_heartbeat(ping_frame())
        connection.outbox.send_reply(pong_frame(b"y"))
        await connection.read(1000)
        assert connection.sent_frames == [connection.offered[0], close_frame(NO_HEARTBEAT)]


async def test_the_first_reason_to_close_counts() -> None:
    async with open_connection(FakeTransport()) as connection:
        connection.outbox.close(NO_HEARTBEAT)
        connection.outbox.close(RESTARTING)
        connection.outbox.close_after_bug()
        await wait_all_tasks_blocked()
        assert connection.closed == [NO_HEARTBEAT]
        assert connection.sent_frames == [close_frame(NO_HEARTBEAT)]
        assert repr(connection.outbox) == "<Outbox no heartbeat, 0 pending, 0 bytes>"


async def test_an_end_after_a_bug_sends_a_close_unless_a_frame_is_partly_written() -> None:
    async with open_connection(FakeTransport()) as connection:
        connection.outbox.close_after_bug()
        assert connection.sent_frames == [close_frame(INTERNAL_ERROR)]
    async with open_connection(FakeTransport(3)) as connection:
        connection.offer(10)
        connection.outbox.close_after_bug()
        assert not connection.outbox.is_empty
        connection.transport.read(1000)
        assert len(connection.transport.taken) == 3


async def test_an_end_after_a_bug_never_raises() -> None:
    """It is called where a bug has just been caught, and the bug may show again."""

    class Broken(FakeTransport):
        def send_nowait(self, data: bytes | memoryview) -> int:
            raise ValueError("a bug")

    async with open_connection(Broken()) as connection:
        with pytest.raises(ValueError, match="a bug"):
            connection.offer(10)
        connection.outbox.close_after_bug()
        assert connection.closed == [CONNECTION_LOST]


async def test_after_a_cancelled_writer_nothing_is_sent_into_a_partly_written_frame() -> None:
    transport = FakeTransport(5)
    async with trio.open_nursery() as nursery:
        connection = FakeConnection(nursery, transport, OutboxLimits())
        connection.offer(10, 10)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    transport.read(1000)
    connection.offer(10)
    connection.outbox.send_heartbeat(ping_frame())
    connection.outbox.close_after_bug()
    assert len(transport.taken) == 5
    assert not connection.outbox.is_empty


# --- Against a model ---

limits = st.one_of(st.integers(1, 8), st.integers(1, 300))
byte_limits = st.one_of(st.integers(1, 200), st.integers(1, 100_000), st.just(64 * 1024 * 1024))
room = st.one_of(st.integers(0, 50), st.integers(0, 5000), st.integers(0, 200_000))
batches = st.lists(frame_sizes, min_size=1, max_size=64)
messages_and_reads = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), batches),
        st.tuples(st.just("read"), room),
        # The peer reads, and the writer has not run since.
        st.tuples(st.just("read before the writer"), room),
    ),
    max_size=25,
)


class Model:
    """The rules of the outbox in the fewest lines."""

    def __init__(self, room: int, messages: int, bytes: int) -> None:
        self.room, self.limit, self.byte_limit = room, messages, bytes
        # Sizes of the pending frames, and how many bytes of the first one are written.
        self.pending: list[int] = []
        self.written = 0
        self.open = True

    def offer(self, size: int) -> None:
        idle = not self.pending
        if self.open and (len(self.pending) >= self.limit or sum(self.pending) >= self.byte_limit):
            self.open = False
            self.pending = self.pending[:1] if self.written else []
        elif self.open:
            self.pending.append(size)
            if idle:
                self.write()

    def write(self) -> None:
        while self.pending and self.room:
            step = min(self.room, self.pending[0] - self.written)
            self.room, self.written = self.room - step, self.written + step
            if self.written == self.pending[0]:
                self.written = 0
                del self.pending[0]


@given(messages_and_reads, room, limits, byte_limits)
@settings(deadline=None, max_examples=200)
def test_a_slow_consumer_is_evicted_at_the_message_that_the_model_says(
    steps: list[tuple[str, Any]], first_room: int, messages: int, bytes: int
) -> None:
    async def main() -> None:
        model = Model(first_room, messages, bytes)
        transport = FakeTransport(first_room)
        async with open_connection(transport, messages=messages, bytes=bytes) as connection:
            for step, argument in steps:
                if step == "offer":
                    before = len(connection.offered)
                    accepted = connection.offer(*argument)
                    for frame in connection.offered[before:]:
                        model.offer(len(frame))
                    assert accepted == model.open
                else:
                    model.room += argument
                    if step == "read":
                        model.write()
                        await connection.read(argument)
                    else:
                        transport.read(argument)
                assert (connection.outbox.disconnect is None) == model.open
                assert connection.outbox.pending == len(model.pending) <= messages
                assert connection.outbox.pending_bytes == sum(model.pending)
                if not model.open:
                    break
                assert transport.room == model.room
            await finish(connection)

    run(main)


async def finish(connection: FakeConnection) -> None:
    """Read all the rest: the peer has received whole messages in order, then the close frame."""
    await connection.read(10_000_000)
    why = connection.outbox.disconnect
    frames = [frame for frame in connection.sent_frames if frame[0] & 0x0F in (TEXT, CLOSE)]
    close = [close_frame(why)] if why is not None and why.code is not None else []
    messages = frames[: len(frames) - len(close)]
    assert frames == connection.offered[: len(messages)] + close
    assert connection.outbox.pending == connection.outbox.pending_bytes == 0
    assert connection.outbox.is_empty
    assert connection.closed == ([] if why is None else [why])
    if why is None:
        assert messages == connection.offered


# --- All operations, checked against the bytes that were sent ---

operations = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), batches),
        st.tuples(st.just("offer"), batches),
        st.tuples(st.just("read"), room),
        st.tuples(st.just("read"), room),
        st.tuples(st.just("read before the writer"), room),
        st.tuples(st.just("ping"), st.none()),
        st.tuples(st.just("pong"), st.binary(max_size=125)),
        st.tuples(st.just("close"), disconnects),
    ),
    max_size=30,
)


class SmallPieceTransport(PieceTransport):
    """Takes small records, so that a few frames make many of them."""

    def __init__(self, room: float) -> None:
        super().__init__(room, piece_bytes=300)


@given(
    operations,
    room,
    limits,
    byte_limits,
    st.sampled_from([FakeTransport, PieceTransport, SmallPieceTransport]),
)
@settings(deadline=None, max_examples=250)
def test_after_any_operations_counts_are_exact_and_frames_are_whole(
    steps: list[tuple[str, Any]],
    first_room: int,
    messages: int,
    bytes: int,
    make: Callable[[float], FakeTransport],
) -> None:
    async def main() -> None:
        transport = make(first_room)
        pongs: list[object] = []
        async with open_connection(transport, messages=messages, bytes=bytes) as connection:
            for step, argument in steps:
                if step == "offer":
                    check_offer(connection, argument, messages, bytes)
                elif step == "read":
                    await connection.read(argument)
                elif step == "read before the writer":
                    transport.read(argument)
                elif step == "ping":
                    connection.outbox.send_heartbeat(ping_frame())
                elif step == "pong":
                    pongs += [argument] if connection.outbox.disconnect is None else []
                    connection.outbox.send_reply(pong_frame(argument))
                else:
                    connection.outbox.close(argument)
            if connection.outbox.disconnect is CONNECTION_LOST:
                return
            await finish(connection)
            check_pongs(connection, pongs)

    run(main)


def check_offer(connection: FakeConnection, sizes: list[int], messages: int, bytes: int) -> None:
    """Offer frames; each of them finds pending what was accepted and has not arrived."""
    outbox = connection.outbox
    if outbox.disconnect is not None:
        assert not connection.offer(*sizes)
        del connection.offered[-len(sizes) :]
        return
    arrived = connection.arrived
    frames_before = connection.offered[arrived:]
    assert outbox.pending == len(frames_before)
    assert outbox.pending_bytes == sum(map(len, frames_before))
    accepted = connection.offer(*sizes)
    pending = [len(frame) for frame in frames_before]
    fits = True
    for frame in connection.offered[max(connection.arrived, arrived + len(frames_before)) :]:
        fits = fits and len(pending) < messages and sum(pending) < bytes
        pending.append(len(frame))
    assert accepted == fits
    if accepted:
        assert outbox.pending == len(connection.offered) - connection.arrived <= messages
    else:
        assert outbox.disconnect is SLOW_CONSUMER


def check_pongs(connection: FakeConnection, replies: list[object]) -> None:
    """Pongs arrive in order, some are replaced; the newest arrives if the outbox is still open."""
    arrived = [f.payload for f in server_frames(connection.transport.taken)[0] if f.opcode == PONG]
    remaining = iter(replies)
    assert all(pong in remaining for pong in arrived)
    if connection.outbox.disconnect is None and replies:
        assert arrived[-1] == replies[-1]


@given(st.sampled_from([FakeTransport, PieceTransport]), batches, room, disconnects)
@settings(deadline=None, max_examples=100)
def test_a_partly_written_frame_is_completed_before_the_close(
    make: Callable[[float], FakeTransport], sizes: list[int], first_room: int, why: Disconnect
) -> None:
    async def main() -> None:
        async with open_connection(make(first_room)) as connection:
            connection.offer(*sizes)
            is_partly_written = server_frames(connection.transport.taken)[1] != b""
            connection.outbox.close(why)
            kept = connection.outbox.pending
            if why.sends_pending:
                assert kept == len(sizes) - connection.arrived
            elif make is FakeTransport:
                assert kept == is_partly_written
            if why is not CONNECTION_LOST:
                await finish(connection)

    run(main)


def test_every_disconnect_with_a_code_has_a_close_frame() -> None:
    frames = [
        frame
        for disconnect in ALL
        if disconnect.code is not None
        for frame in server_frames(close_frame(disconnect))[0]
    ]
    assert {frame.opcode for frame in frames} == {CLOSE}
