"""The outbox: who is dropped at which message, and what stands on the wire."""

from collections.abc import AsyncIterator, Callable, Iterable
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
from ryze.websocket.encodings import PLAIN
from ryze.websocket.server_frames import close_frame, ping_frame, pong_frame, text_frame
from tests.fakes import FakeTransport, PieceTransport, server_frames
from tests.strategies import disconnects, frame_sizes

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Client:
    """An outbox with its writer, and the peer's end of its wire."""

    def __init__(
        self, nursery: trio.Nursery, transport: FakeTransport, limits: OutboxLimits
    ) -> None:
        self.transport = transport
        self.closed: list[Disconnect | None] = []
        # All messages that were offered, in order, and how many of them were accepted.
        self.offered: list[bytes] = []
        self.outbox = Outbox(
            transport,
            limits,
            PLAIN,
            start_writer=lambda: nursery.start_soon(self.outbox.write),
            on_close=lambda: self.closed.append(self.outbox.disconnect),
        )

    def publish(self, *sizes: int) -> bool:
        """Offer frames with payloads of these sizes, each with another content."""
        frames = [text_frame(self._payload(size, i)) for i, size in enumerate(sizes)]
        self.offered += frames
        return self.outbox.offer(Messages(frames))

    def _payload(self, size: int, index: int) -> bytes:
        number = b"%d;" % (len(self.offered) + index)
        return (number * (size // len(number) + 1))[:size]

    async def read(self, count: float) -> None:
        """The peer reads `count` bytes, and the writer writes what goes then."""
        self.transport.read(count)
        await wait_all_tasks_blocked()

    @property
    def arrived(self) -> int:
        """Messages of which the transport has reported the last byte."""
        frames, _ = server_frames(self.transport.taken[: self.transport.reported])
        return sum(frame.opcode == TEXT for frame in frames)

    @property
    def wire(self) -> list[bytes]:
        frames, rest = server_frames(self.transport.taken)
        assert rest == b""
        return [frame.raw for frame in frames]


@asynccontextmanager
async def a_client(
    transport: FakeTransport, *, messages: int = 256, bytes: int = 64 * 1024 * 1024
) -> AsyncIterator[Client]:
    async with trio.open_nursery() as nursery:
        yield Client(nursery, transport, OutboxLimits(messages, bytes))
        nursery.cancel_scope.cancel()


def run(main: Callable[..., Any], *args: object) -> None:
    trio.run(main, *args, clock=MockClock(autojump_threshold=0))


# --- On paper ---


async def test_256_pending_are_fine_and_the_257th_drops() -> None:
    async with a_client(FakeTransport(0)) as client:
        for _ in range(256):
            assert client.publish(10)
        assert client.outbox.pending == 256
        assert client.outbox.pending_bytes == 256 * 12
        assert not client.publish(10)
        assert client.closed == [SLOW_CONSUMER]
        assert client.outbox.pending == 0
        assert not client.publish(10)
        await client.read(10_000)
        assert client.wire == [close_frame(SLOW_CONSUMER)]


async def test_256_pending_are_fine_and_the_257th_drops_within_a_batch_too() -> None:
    async with a_client(FakeTransport(0)) as client:
        assert client.publish(*[10] * 64)
        assert client.publish(*[10] * 64)
        assert client.publish(*[10] * 64)
        assert client.publish(*[10] * 63)
        assert client.outbox.pending == 255
        assert not client.publish(10, 10)


async def test_the_message_that_drops_can_be_computed() -> None:
    """1000 bytes of room, frames of 12: 83 go, the 84th has 4 bytes out, 84 + 256 is too many."""
    async with a_client(FakeTransport(1000)) as client:
        accepted = 0
        while client.publish(10):
            accepted += 1
            await wait_all_tasks_blocked()
        assert accepted == 83 + 256
        assert client.outbox.pending == 1
        await client.read(10_000)
        assert client.wire == [*client.offered[:84], close_frame(SLOW_CONSUMER)]


async def test_a_message_is_pending_until_its_last_byte_is_taken() -> None:
    async with a_client(FakeTransport(11), messages=1) as client:
        assert client.publish(10)
        assert client.outbox.pending == 1
        await client.read(1)
        assert client.outbox.pending == 0
        assert client.publish(10)
        await client.read(11)
        assert not client.publish(0)


async def test_what_the_writer_has_in_hand_still_counts() -> None:
    async with a_client(FakeTransport(0)) as client:
        client.publish(*[10] * 64)
        await wait_all_tasks_blocked()
        await client.read(5)
        assert client.outbox.pending == 64
        for _ in range(192):
            assert client.publish(10)
        assert not client.publish(10)


async def test_a_byte_limit_drops_who_has_reached_it() -> None:
    async with a_client(FakeTransport(0), bytes=24) as client:
        assert client.publish(10)
        assert client.publish(9)
        assert client.outbox.pending_bytes == 23
        assert client.publish(10)
        assert client.outbox.pending_bytes == 35
        assert not client.publish(0)
    async with a_client(FakeTransport(0), bytes=24) as client:
        assert client.publish(10, 10)
        assert client.outbox.pending_bytes == 24
        assert not client.publish(0)


async def test_one_frame_larger_than_the_byte_limit_passes_when_nothing_is_pending() -> None:
    async with a_client(FakeTransport(7), bytes=100) as client:
        assert client.publish(70_000)
        assert not client.outbox.is_empty
        await client.read(80_000)
        assert client.outbox.is_empty
        assert client.wire == client.offered
        client.transport.stop_reading()
        assert client.publish(70_000)
        assert not client.publish(1)


@pytest.mark.parametrize("messages", [1, 5, 64])
async def test_a_record_of_tls_does_not_stretch_the_limit(messages: int) -> None:
    """A record can take up many messages of a batch: they all count as if they came alone."""
    for count in (messages, messages + 1):
        async with a_client(PieceTransport(0), messages=messages) as client:
            assert client.publish(*[10] * count) == (count <= messages)
        async with a_client(PieceTransport(0), messages=1000, bytes=12 * messages) as client:
            assert client.publish(*[10] * count) == (count <= messages)


async def test_after_a_loss_nothing_is_pending_and_nothing_is_sent() -> None:
    for transport in (FakeTransport(5), PieceTransport(5)):
        async with a_client(transport) as client:
            client.publish(*[10] * 9)
            await wait_all_tasks_blocked()
            transport.fail()
            await wait_all_tasks_blocked()
            assert client.closed == [CONNECTION_LOST]
            assert client.outbox.pending == client.outbox.pending_bytes == 0
            assert client.outbox.is_empty
            assert len(transport.taken) == 5


@pytest.mark.parametrize(
    "use",
    [
        Client.publish,
        lambda client: client.outbox.send_heartbeat(ping_frame()),
        lambda client: client.outbox.send_reply(pong_frame(b"x")),
        lambda client: client.outbox.send_handshake(b"HTTP"),
        lambda client: client.outbox.close(NO_HEARTBEAT),
    ],
)
async def test_a_loss_is_noticed_by_whoever_sends(use: Callable[..., object]) -> None:
    transport = FakeTransport()
    async with a_client(transport) as client:
        transport.fail()
        assert not use(client)
        assert client.closed in ([CONNECTION_LOST], [NO_HEARTBEAT])
        await wait_all_tasks_blocked()
        assert client.outbox.is_empty
        assert not transport.taken


async def test_a_handshake_goes_out_before_everything_else() -> None:
    for transport in (FakeTransport(0), FakeTransport(3), FakeTransport(), PieceTransport(3)):
        async with a_client(transport) as client:
            client.outbox.send_handshake(b"HTTP/1.1 101\r\n\r\n")
            client.outbox.send_heartbeat(ping_frame())
            client.publish(3)
            client.outbox.send_reply(pong_frame(b"x"))
            await client.read(1000)
            assert transport.taken.startswith(b"HTTP/1.1 101\r\n\r\n")
            rest = [frame.opcode for frame in server_frames(transport.taken[16:])[0]]
            assert sorted(rest) == [TEXT, PING, PONG]
            assert client.outbox.pending == 0


async def test_only_the_newest_pong_waits() -> None:
    async with a_client(FakeTransport(1)) as client:
        client.publish(10)
        for number in range(100):
            client.outbox.send_reply(pong_frame(b"%d" % number))
            client.outbox.send_heartbeat(ping_frame())
        client.publish(10)
        await client.read(1000)
        assert client.wire == [
            client.offered[0],
            pong_frame(b"99"),
            ping_frame(),
            client.offered[1],
        ]


async def test_a_pong_does_not_wait_behind_the_whole_backlog() -> None:
    async with a_client(FakeTransport(0)) as client:
        client.publish(*[10_000] * 20)
        await wait_all_tasks_blocked()
        client.outbox.send_reply(pong_frame(b"here"))
        await client.read(80_000)
        assert pong_frame(b"here") in [f.raw for f in server_frames(client.transport.taken)[0]]


async def test_a_drain_sends_everything_and_other_ends_do_not() -> None:
    async with a_client(FakeTransport(15)) as client:
        client.publish(10, 10, 10)
        client.outbox.close(RESTARTING)
        await client.read(1000)
        assert client.wire == [*client.offered, close_frame(RESTARTING)]
    async with a_client(FakeTransport(15)) as client:
        client.publish(10, 10, 10)
        client.outbox.close(INSTANCE_DELETED)
        await client.read(1000)
        assert client.wire == [*client.offered[:2], close_frame(INSTANCE_DELETED)]


async def test_pings_and_pongs_that_wait_are_not_part_of_a_farewell() -> None:
    async with a_client(FakeTransport(5)) as client:
        client.publish(10)
        client.outbox.send_heartbeat(ping_frame())
        client.outbox.send_reply(pong_frame(b"x"))
        client.outbox.close(NO_HEARTBEAT)
        client.outbox.send_heartbeat(ping_frame())
        client.outbox.send_reply(pong_frame(b"y"))
        await client.read(1000)
        assert client.wire == [client.offered[0], close_frame(NO_HEARTBEAT)]


async def test_the_first_reason_to_close_counts() -> None:
    async with a_client(FakeTransport()) as client:
        client.outbox.close(NO_HEARTBEAT)
        client.outbox.close(RESTARTING)
        client.outbox.close_after_bug()
        await wait_all_tasks_blocked()
        assert client.closed == [NO_HEARTBEAT]
        assert client.wire == [close_frame(NO_HEARTBEAT)]
        assert repr(client.outbox) == "<Outbox no heartbeat, 0 pending, 0 bytes>"


async def test_an_abrupt_end_says_so_where_that_cannot_break_a_frame() -> None:
    async with a_client(FakeTransport()) as client:
        client.outbox.close_after_bug()
        assert client.wire == [close_frame(INTERNAL_ERROR)]
    async with a_client(FakeTransport(3)) as client:
        client.publish(10)
        client.outbox.close_after_bug()
        assert not client.outbox.is_empty
        client.transport.read(1000)
        assert len(client.transport.taken) == 3


async def test_an_abrupt_end_never_raises() -> None:
    """It is called where a bug has just been caught, and must not bring down its caller."""

    class Broken(FakeTransport):
        def send_nowait(self, data: bytes | memoryview) -> int:
            raise ValueError("a bug")

    async with a_client(Broken()) as client:
        with pytest.raises(ValueError, match="a bug"):
            client.publish(10)
        client.outbox.close_after_bug()
        assert client.closed == [CONNECTION_LOST]


async def test_after_a_cancelled_writer_nothing_goes_into_the_frame_that_is_half_way_out() -> None:
    transport = FakeTransport(5)
    async with trio.open_nursery() as nursery:
        client = Client(nursery, transport, OutboxLimits())
        client.publish(10, 10)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    transport.read(1000)
    client.publish(10)
    client.outbox.send_heartbeat(ping_frame())
    client.outbox.close_after_bug()
    assert len(transport.taken) == 5
    assert not client.outbox.is_empty


# --- Against a model ---

limits = st.one_of(st.integers(1, 8), st.integers(1, 300))
byte_limits = st.one_of(st.integers(1, 200), st.integers(1, 100_000), st.just(64 * 1024 * 1024))
room = st.one_of(st.integers(0, 50), st.integers(0, 5000), st.integers(0, 200_000))
batches = st.lists(frame_sizes, min_size=1, max_size=64)
messages_and_reads = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), batches),
        st.tuples(st.just("read"), room),
        # The peer reads, and the writer has not noticed yet.
        st.tuples(st.just("read unseen"), room),
    ),
    max_size=25,
)


class Model:
    """The rule, in as few words as possible."""

    def __init__(self, room: int, messages: int, bytes: int) -> None:
        self.room, self.limit, self.byte_limit = room, messages, bytes
        # Sizes of the pending frames, and how much of the first one is out.
        self.pending: list[int] = []
        self.out = 0
        self.open = True

    def publish(self, size: int) -> None:
        idle = not self.pending
        if self.open and (len(self.pending) >= self.limit or sum(self.pending) >= self.byte_limit):
            self.open = False
            self.pending = self.pending[:1] if self.out else []
        elif self.open:
            self.pending.append(size)
            if idle:
                self.write()

    def write(self) -> None:
        while self.pending and self.room:
            step = min(self.room, self.pending[0] - self.out)
            self.room, self.out = self.room - step, self.out + step
            if self.out == self.pending[0]:
                self.out = 0
                del self.pending[0]


@given(messages_and_reads, room, limits, byte_limits)
@settings(deadline=None, max_examples=200)
def test_the_client_is_dropped_at_the_message_that_the_model_says(
    steps: list[tuple[str, Any]], first_room: int, messages: int, bytes: int
) -> None:
    async def main() -> None:
        model = Model(first_room, messages, bytes)
        transport = FakeTransport(first_room)
        async with a_client(transport, messages=messages, bytes=bytes) as client:
            for step, argument in steps:
                if step == "publish":
                    before = len(client.offered)
                    accepted = client.publish(*argument)
                    for frame in client.offered[before:]:
                        model.publish(len(frame))
                    assert accepted == model.open
                else:
                    model.room += argument
                    if step == "read":
                        model.write()
                        await client.read(argument)
                    else:
                        transport.read(argument)
                assert (client.outbox.disconnect is None) == model.open
                assert client.outbox.pending == len(model.pending) <= messages
                assert client.outbox.pending_bytes == sum(model.pending)
                if not model.open:
                    break
                assert transport.room == model.room
            await finish(client)

    run(main)


async def finish(client: Client) -> None:
    """The peer reads all the rest: it has seen whole messages in order, and then the farewell."""
    await client.read(10_000_000)
    why = client.outbox.disconnect
    wire = [frame for frame in client.wire if frame[0] & 0x0F in (TEXT, CLOSE)]
    farewell = [close_frame(why)] if why is not None and why.code is not None else []
    messages = wire[: len(wire) - len(farewell)]
    assert wire == client.offered[: len(messages)] + farewell
    assert client.outbox.pending == client.outbox.pending_bytes == 0
    assert client.outbox.is_empty
    assert client.closed == ([] if why is None else [why])
    if why is None:
        assert messages == client.offered


# --- Everything at once, the oracle is the wire itself ---

anything = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), batches),
        st.tuples(st.just("publish"), batches),
        st.tuples(st.just("read"), room),
        st.tuples(st.just("read"), room),
        st.tuples(st.just("read unseen"), room),
        st.tuples(st.just("ping"), st.none()),
        st.tuples(st.just("pong"), st.binary(max_size=125)),
        st.tuples(st.just("close"), disconnects),
    ),
    max_size=30,
)


class Pieces(PieceTransport):
    """Small records, so that a few frames make many of them."""

    def __init__(self, room: float) -> None:
        super().__init__(room, piece_bytes=300)


@given(
    anything, room, limits, byte_limits, st.sampled_from([FakeTransport, PieceTransport, Pieces])
)
@settings(deadline=None, max_examples=250)
def test_whatever_happens_the_count_is_true_and_frames_are_whole(
    steps: list[tuple[str, Any]],
    first_room: int,
    messages: int,
    bytes: int,
    make: Callable[[float], FakeTransport],
) -> None:
    async def main() -> None:
        transport = make(first_room)
        pongs: list[object] = []
        async with a_client(transport, messages=messages, bytes=bytes) as client:
            for step, argument in steps:
                if step == "publish":
                    check_offer(client, argument, messages, bytes)
                elif step == "read":
                    await client.read(argument)
                elif step == "read unseen":
                    transport.read(argument)
                elif step == "ping":
                    client.outbox.send_heartbeat(ping_frame())
                elif step == "pong":
                    pongs += [argument] if client.outbox.disconnect is None else []
                    client.outbox.send_reply(pong_frame(argument))
                else:
                    client.outbox.close(argument)
            if client.outbox.disconnect is CONNECTION_LOST:
                return
            await finish(client)
            check_pongs(client, pongs)

    run(main)


def check_offer(client: Client, sizes: list[int], messages: int, bytes: int) -> None:
    """An offer finds what was accepted and has not arrived; so it is for each of its frames."""
    outbox = client.outbox
    if outbox.disconnect is not None:
        assert not client.publish(*sizes)
        del client.offered[-len(sizes) :]
        return
    arrived = client.arrived
    frames_before = client.offered[arrived:]
    assert outbox.pending == len(frames_before)
    assert outbox.pending_bytes == sum(map(len, frames_before))
    accepted = client.publish(*sizes)
    pending = [len(frame) for frame in frames_before]
    fits = True
    for frame in client.offered[max(client.arrived, arrived + len(frames_before)) :]:
        fits = fits and len(pending) < messages and sum(pending) < bytes
        pending.append(len(frame))
    assert accepted == fits
    if accepted:
        assert outbox.pending == len(client.offered) - client.arrived <= messages
    else:
        assert outbox.disconnect is SLOW_CONSUMER


def check_pongs(client: Client, asked: list[object]) -> None:
    """Those that came are in order; the newest is one of them unless the end was quicker."""
    came = [f.payload for f in server_frames(client.transport.taken)[0] if f.opcode == PONG]
    remaining = iter(asked)
    assert all(pong in remaining for pong in came)
    if client.outbox.disconnect is None and asked:
        assert came[-1] == asked[-1]


@given(st.sampled_from([FakeTransport, PieceTransport]), batches, room, disconnects)
@settings(deadline=None, max_examples=100)
def test_a_frame_half_way_out_is_finished_before_any_farewell(
    make: Callable[[float], FakeTransport], sizes: list[int], first_room: int, why: Disconnect
) -> None:
    async def main() -> None:
        async with a_client(make(first_room)) as client:
            client.publish(*sizes)
            is_half_way_out = server_frames(client.transport.taken)[1] != b""
            client.outbox.close(why)
            kept = client.outbox.pending
            if why.drains:
                assert kept == len(sizes) - client.arrived
            elif make is FakeTransport:
                assert kept == is_half_way_out
            if why is not CONNECTION_LOST:
                await finish(client)

    run(main)


def test_every_disconnect_is_tried() -> None:
    assert set(opcodes_of(ALL)) == {CLOSE}


def opcodes_of(whys: Iterable[Disconnect]) -> list[int]:
    return [
        frame.opcode
        for why in whys
        if why.code is not None
        for frame in server_frames(close_frame(why))[0]
    ]
