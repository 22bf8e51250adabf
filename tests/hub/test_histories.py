"""Hub and outboxes together, through random histories, against a model that counts bytes.

A history publishes (waiting for the flush, not waiting, or on the spot), reads k bytes, stalls,
loses, closes and removes connections, changes configuration and deletes, in any order. The model
says which subscribers are in the hub, which messages have arrived whole and which are pending,
and at which message a slow consumer is evicted.
"""

from collections import deque
from contextlib import ExitStack
from typing import Any

import msgspec
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.changes import AccountTokenRevoked
from ryze.disconnects import INSTANCE_DELETED, Disconnect
from ryze.events.event import Event
from ryze.hub.hub import Hub, HubStatistics
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.records import WebsocketConfig
from ryze.websocket.server_frames import text_frame
from ryze.websocket.views import PLAIN
from tests.fakes import EVERYTHING, FakeTransport, make_instance, server_frames
from tests.hub.harness import EMPTY_HUB, configure, publish
from tests.strategies import disconnects, event_types

INSTANCES = (1, 2)

# Most events that are published before a flush: fewer than fill a batch.
MAX_UNFLUSHED = 20

# Bytes of the frame of an event with 3 bytes of padding and a number of one digit.
FRAME_BYTES = 134

# A number, and the size of its frame.
Message = tuple[int, int]


class Model:
    """The state of one subscriber as it must be, in the fewest lines."""

    def __init__(self, instance: int, limits: OutboxLimits, room: int) -> None:
        self.instance, self.limits, self.room = instance, limits, room
        self.pending: deque[Message] = deque()
        # Bytes of the first pending message that are written.
        self.written = 0
        self.arrived: list[int] = []
        # In the hub; still accepting messages, which shows only at the next one.
        self.connected = self.open = True

    def offer(self, message: Message) -> None:
        size = sum(size for _, size in self.pending)
        full = len(self.pending) >= self.limits.messages or size >= self.limits.bytes
        self.connected = self.open = self.open and not full
        if self.connected:
            self.pending.append(message)
            self.write()

    def write(self) -> None:
        while self.pending and self.room:
            number, size = self.pending[0]
            step = min(self.room, size - self.written)
            self.room, self.written = self.room - step, self.written + step
            if self.written == size:
                self.written = 0
                self.pending.popleft()
                self.arrived.append(number)


class Subscriber:
    """A real outbox on a fake transport, in the hub, with its model."""

    def __init__(
        self, system: "System", instance: int, limits: OutboxLimits, room: int, token_hash: str
    ) -> None:
        self.token_hash = token_hash
        self.model = Model(instance, limits, room)
        self.transport = FakeTransport(room)
        self.outbox = Outbox(
            self.transport,
            limits,
            PLAIN,
            start_writer=lambda: system.nursery.start_soon(self.outbox.write),
            on_close=lambda: None,
        )
        self.stack = ExitStack()
        known = make_instance(instance, system.configs[instance])
        self.stack.enter_context(system.hub.subscribed(known, self.outbox, token_hash))

    @property
    def arrived(self) -> list[int]:
        frames = server_frames(self.transport.taken)[0]
        return [msgspec.json.decode(f.payload)["data"]["n"] for f in frames if f.opcode == 1]


class System:
    """A hub, its subscribers, and the messages that are not flushed."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.hub = Hub("http://ryze.test")
        self.nursery = nursery
        self.subscribers: list[Subscriber] = []
        self.configs = dict.fromkeys(INSTANCES, EVERYTHING)
        # Messages of the next flush, by instance.
        self.unflushed: dict[int, list[Message]] = {instance: [] for instance in INSTANCES}
        self.number = 0

    # Steps; an async one lets the flush run first.

    def subscribe(self, instance: int, limits: OutboxLimits, room: int, token_hash: str) -> None:
        self.subscribers.append(Subscriber(self, instance, limits, room, token_hash))

    async def publish(self, instance: int, events: list[tuple[Any, int]]) -> None:
        made = [self._event(type, size) for type, size in events]
        wanted = self._wanted(instance, made)
        self.unflushed[instance] += map(self._message, wanted)
        self._flush()
        is_last_wanted = wanted[-1:] == made[-1:]
        count = len(self._connected(instance)) if is_last_wanted else 0
        assert await publish(self.hub, instance, made) == count

    def publish_before_flush(self, instance: int, events: list[tuple[Any, int]]) -> None:
        for event in [self._event(type, size) for type, size in events]:
            if len(self.unflushed[instance]) < MAX_UNFLUSHED:
                wanted = self._wanted(instance, [event])
                self.unflushed[instance] += map(self._message, wanted)
                batch = self.hub.publish(instance, event)
                assert (batch is not None) == bool(wanted)

    async def publish_now(self, instance: int, events: list[tuple[Any, int]]) -> None:
        """Publish as the stream of a producer socket is published."""
        events_left = deque(self._event(type, size) for type, size in events)
        self.unflushed[instance] += map(self._message, self._wanted(instance, list(events_left)))
        self._flush()
        while events_left:
            if not self.hub.publish_now(instance, events_left):
                await self.hub.publish_when_ready(instance, events_left.popleft())

    async def read(self, index: int, count: int) -> None:
        await self.settle()
        for subscriber in self.subscribers[index : index + 1]:
            subscriber.model.room += count
            subscriber.model.write()
            subscriber.transport.read(count)

    async def stall(self, index: int) -> None:
        await self.settle()
        for subscriber in self.subscribers[index : index + 1]:
            subscriber.model.room = 0
            subscriber.transport.stop_reading()

    async def lose(self, index: int) -> None:
        """Lose a connection. The outbox notices at the next offer; with a writer, when that wakes.

        An offer before the writer wakes is accepted, and which is first is up to Trio: so a lagging
        outbox is lost after a flush only.
        """
        for subscriber in self.subscribers[index : index + 1]:
            if subscriber.outbox.pending:
                await self.settle()
            subscriber.model.open = False
            subscriber.transport.fail()

    def close(self, index: int, disconnect: Disconnect) -> None:
        for subscriber in self.subscribers[index : index + 1]:
            subscriber.model.open = False
            subscriber.outbox.close(disconnect)

    def leave(self, index: int) -> None:
        for subscriber in self.subscribers[index : index + 1]:
            subscriber.stack.close()
            subscriber.model.connected = False
            self._drop_unflushed(subscriber.model.instance)
        del self.subscribers[index : index + 1]

    def configure(self, instance: int, enabled: bool, events: list[str]) -> None:
        self.configs[instance] = WebsocketConfig(enabled, tuple(events), media_base64=True)
        configure(self.hub, instance, self.configs[instance])

    def disconnect(self, instance: int) -> None:
        self.hub.disconnect(instance, INSTANCE_DELETED)
        for subscriber in self._connected(instance):
            subscriber.model.connected = subscriber.model.open = False
        self._drop_unflushed(instance)

    def revoke(self, token_hash: str) -> None:
        self.hub.follow(AccountTokenRevoked(token_hash))
        for subscriber in self.subscribers:
            if subscriber.model.connected and subscriber.token_hash == token_hash:
                subscriber.model.connected = subscriber.model.open = False
        for instance in INSTANCES:
            self._drop_unflushed(instance)

    async def settle(self) -> None:
        """Let the flush and the writers do all they can."""
        self._flush()
        await wait_all_tasks_blocked()

    # The model

    def _event(self, type: Any, size: int) -> Event:
        self.number += 1
        return Event(type, b'{"n":%d,"p":"%b"}' % (self.number, b"x" * size))

    def _message(self, event: Event) -> Message:
        tail = b'{"baseUrl":"http://ryze.test","instance":"shop","token":"token-1"}'
        return msgspec.json.decode(event.data)["n"], len(text_frame(event.envelope(tail)))

    def _wanted(self, instance: int, events: list[Event]) -> list[Event]:
        config = self.configs[instance]
        if not (config.enabled and self._connected(instance)):
            return []
        return [event for event in events if not config.events or event.type in config.events]

    def _connected(self, instance: int) -> list[Subscriber]:
        return [s for s in self.subscribers if s.model.connected and s.model.instance == instance]

    def _flush(self) -> None:
        for instance, messages in self.unflushed.items():
            for subscriber in self._connected(instance):
                for message in messages:
                    subscriber.model.offer(message)
            messages.clear()

    def _drop_unflushed(self, instance: int) -> None:
        """Drop unflushed messages after the last subscriber has left; a later one gets none."""
        if not self._connected(instance):
            self.unflushed[instance].clear()

    def check(self) -> None:
        connected = [subscriber for subscriber in self.subscribers if subscriber.model.connected]
        assert set(self.hub.outboxes()) == {subscriber.outbox for subscriber in connected}
        for instance in INSTANCES:
            count = len(self._connected(instance))
            assert self.hub.connection_count(instance) == count
            assert self.hub.has_subscribers(instance) == (count > 0)
        for subscriber in connected:
            if subscriber.model.open:
                assert subscriber.arrived == subscriber.model.arrived
                assert subscriber.outbox.pending == len(subscriber.model.pending)
                assert subscriber.outbox.pending_bytes == sum(
                    s for _, s in subscriber.model.pending
                )
        for subscriber in self.subscribers:
            # Messages arrive in order, and none twice.
            assert subscriber.arrived == sorted(set(subscriber.arrived))
        outboxes = [subscriber.outbox for subscriber in connected]
        assert self.hub.statistics() == HubStatistics(
            instances=len({subscriber.model.instance for subscriber in connected}),
            subscribers=len(connected),
            lagging=sum(outbox.pending > 0 for outbox in outboxes),
            pending=sum(outbox.pending for outbox in outboxes),
            pending_bytes=sum(outbox.pending_bytes for outbox in outboxes),
            unflushed=0,
        )


# Mostly the first, so that steps interact.
instances = st.sampled_from((1, 1, 1, 2))
indexes = st.integers(0, 5)
sizes = st.one_of(st.integers(0, 30), st.integers(0, 300))
limits = st.one_of(
    st.builds(OutboxLimits, st.integers(1, 5)),
    st.builds(OutboxLimits, st.just(256), st.integers(1, 3000)),
)
token_hashes = st.sampled_from("abc")
room = st.one_of(st.just(0), st.integers(0, 300), st.integers(0, 5000))
one_event = st.lists(st.tuples(event_types, sizes), min_size=1, max_size=1)
few_events = st.lists(st.tuples(event_types, sizes), min_size=1, max_size=6)
many_events = st.lists(st.tuples(event_types, sizes), min_size=1, max_size=80)

subscribe = st.tuples(st.just(System.subscribe), instances, limits, room, token_hashes)
publish_steps = st.sampled_from([System.publish, System.publish_before_flush, System.publish_now])
publications = st.tuples(publish_steps, instances, st.one_of(one_event, few_events, many_events))
other_steps = st.one_of(
    subscribe,
    st.tuples(st.just(System.stall), indexes),
    st.tuples(st.just(System.lose), indexes),
    st.tuples(st.just(System.close), indexes, disconnects),
    st.tuples(st.just(System.leave), indexes),
    st.tuples(
        st.just(System.configure),
        instances,
        st.sampled_from([True, True, False]),
        st.lists(event_types, unique=True, max_size=3),
    ),
    st.tuples(st.just(System.disconnect), instances),
    st.tuples(st.just(System.revoke), token_hashes),
    st.tuples(st.just(System.settle)),
)
reads = st.tuples(st.just(System.read), indexes, room)
steps = st.one_of(publications, publications, reads, other_steps)
# Without subscribers nothing happens, so each history begins with some.
histories = st.builds(
    list.__add__,
    st.lists(subscribe, min_size=1, max_size=4),
    st.lists(steps, min_size=15, max_size=60),
)


# Rare cases: a producer on the spot behind an unflushed event, each limit met exactly, and a
# connection lost where only a writer can notice.
ONE_EVENT = [("call.update", 3)]
OVERTAKING = [
    (System.subscribe, 1, OutboxLimits(), 5000, "a"),
    (System.publish_before_flush, 1, ONE_EVENT),
    (System.publish_now, 1, ONE_EVENT),
]
AT_THE_LIMIT = [
    (System.subscribe, 1, OutboxLimits(messages=2), 10, "a"),
    *[(System.publish, 1, ONE_EVENT)] * 3,
]
LOST_WHILE_LAGGING = [
    (System.subscribe, 1, OutboxLimits(), 0, "a"),
    (System.publish, 1, ONE_EVENT),
    (System.publish_before_flush, 1, ONE_EVENT),
    (System.lose, 0),
    (System.publish, 1, ONE_EVENT),
]
AT_THE_BYTE_LIMIT = [
    (System.subscribe, 1, OutboxLimits(bytes=2 * FRAME_BYTES), 10, "a"),
    *[(System.publish, 1, ONE_EVENT)] * 3,
]


@given(histories)
@example(OVERTAKING)
@example(AT_THE_LIMIT)
@example(AT_THE_BYTE_LIMIT)
@example(LOST_WHILE_LAGGING)
@settings(deadline=None, max_examples=100)
def test_any_history_agrees_with_the_model(history: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            system = System(nursery)
            nursery.start_soon(system.hub.run)
            for step, *arguments in history:
                waiting = step(system, *arguments)
                if waiting is not None:
                    await waiting
                    await system.settle()
                    system.check()
            await system.settle()
            system.check()
            while system.subscribers:
                system.leave(0)
            assert system.hub.statistics() == EMPTY_HUB
            nursery.cancel_scope.cancel()

    with capture_logs() as logs:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert logs == []


async def test_frames_of_the_examples_have_the_size_they_assume(nursery: trio.Nursery) -> None:
    system = System(nursery)
    assert system._message(system._event(*ONE_EVENT[0])) == (1, FRAME_BYTES)
