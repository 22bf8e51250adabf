"""Hub and outboxes together, through any history, against a model that counts bytes.

Publish (waiting for the flush, not waiting, or as a lone publisher does), read k bytes, stall,
vanish, close, leave, reconfigure, delete, in any order: who is in the hub, what has arrived whole,
what is pending and who was dropped at which message is what the model says.
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
from ryze.websocket.encodings import PLAIN
from ryze.websocket.server_frames import text_frame
from tests.fakes import EVERYTHING, FakeTransport, make_instance, server_frames
from tests.hub.operations import configure, publish
from tests.strategies import disconnects, event_types
from tests.websocket.harness import NOBODY

INSTANCES = (1, 2)

# So many may be published without waiting for the flush: fewer than fill a batch.
UNSEEN = 20

# The frame of the event with three bytes of padding and a number of one digit.
A_FRAME = 134

# A number, and the size of its frame.
Message = tuple[int, int]


class Model:
    """What one client should have, in as few words as possible."""

    def __init__(self, instance: int, limits: OutboxLimits, room: int) -> None:
        self.instance, self.limits, self.room = instance, limits, room
        self.pending: deque[Message] = deque()
        # Bytes of the first pending message that are out.
        self.out = 0
        self.arrived: list[int] = []
        # In the hub; and still taking messages, which only the next one shows.
        self.connected = self.open = True

    def offer(self, message: Message) -> None:
        size = sum(size for _, size in self.pending)
        full = len(self.pending) >= self.limits.messages or size >= self.limits.bytes
        self.connected = self.open = self.open and not full
        if self.connected:
            self.pending.append(message)
            self.move()

    def move(self) -> None:
        while self.pending and self.room:
            number, size = self.pending[0]
            step = min(self.room, size - self.out)
            self.room, self.out = self.room - step, self.out + step
            if self.out == size:
                self.out = 0
                self.pending.popleft()
                self.arrived.append(number)


class Client:
    """A real outbox on a fake wire, in the hub, beside its model."""

    def __init__(
        self, world: "World", instance: int, limits: OutboxLimits, room: int, key: str
    ) -> None:
        self.key = key
        self.model = Model(instance, limits, room)
        self.transport = FakeTransport(room)
        self.outbox = Outbox(
            self.transport,
            limits,
            PLAIN,
            start_writer=lambda: world.nursery.start_soon(self.outbox.write),
            on_close=lambda: None,
        )
        self.stack = ExitStack()
        described = make_instance(instance, world.configs[instance])
        self.stack.enter_context(world.hub.subscribed(described, self.outbox, key))

    @property
    def arrived(self) -> list[int]:
        frames = server_frames(self.transport.taken)[0]
        return [msgspec.json.decode(f.payload)["data"]["n"] for f in frames if f.opcode == 1]


class World:
    """A hub, its clients, and what is on the way between two flushes."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.hub = Hub("http://ryze.test")
        self.nursery = nursery
        self.clients: list[Client] = []
        self.configs = dict.fromkeys(INSTANCES, EVERYTHING)
        # What the next flush hands out, by instance.
        self.waiting: dict[int, list[Message]] = {instance: [] for instance in INSTANCES}
        self.number = 0

    # Steps; those that await let the flush run first.

    def subscribe(self, instance: int, limits: OutboxLimits, room: int, key: str) -> None:
        self.clients.append(Client(self, instance, limits, room, key))

    async def publish(self, instance: int, events: list[tuple[Any, int]]) -> None:
        made = [self._event(type, size) for type, size in events]
        wanted = self._wanted(instance, made)
        self.waiting[instance] += map(self._message, wanted)
        self._hand_out()
        last_counts = wanted[-1:] == made[-1:]
        count = len(self._connected(instance)) if last_counts else 0
        assert await publish(self.hub, instance, made) == count

    def publish_unseen(self, instance: int, events: list[tuple[Any, int]]) -> None:
        for event in [self._event(type, size) for type, size in events]:
            if len(self.waiting[instance]) < UNSEEN:
                wanted = self._wanted(instance, [event])
                self.waiting[instance] += map(self._message, wanted)
                batch = self.hub.publish(instance, event)
                assert (batch is not None) == bool(wanted)

    async def publish_now(self, instance: int, events: list[tuple[Any, int]]) -> None:
        """As a publisher does."""
        left = deque(self._event(type, size) for type, size in events)
        self.waiting[instance] += map(self._message, self._wanted(instance, list(left)))
        self._hand_out()
        while left:
            if not self.hub.publish_now(instance, left):
                await self.hub.publish_when_ready(instance, left.popleft())

    async def read(self, index: int, count: int) -> None:
        await self.settle()
        for client in self.clients[index : index + 1]:
            client.model.room += count
            client.model.move()
            client.transport.read(count)

    async def stall(self, index: int) -> None:
        await self.settle()
        for client in self.clients[index : index + 1]:
            client.model.room = 0
            client.transport.stop_reading()

    async def vanish(self, index: int) -> None:
        """Its outbox sees that with the next offer; but with a writer, when that wakes up.

        An offer before that is accepted, and who is first is up to Trio: so there is none.
        """
        for client in self.clients[index : index + 1]:
            if client.outbox.pending:
                await self.settle()
            client.model.open = False
            client.transport.fail()

    def close(self, index: int, why: Disconnect) -> None:
        for client in self.clients[index : index + 1]:
            client.model.open = False
            client.outbox.close(why)

    def leave(self, index: int) -> None:
        for client in self.clients[index : index + 1]:
            client.stack.close()
            client.model.connected = False
            self._forget(client.model.instance)
        del self.clients[index : index + 1]

    def configure(self, instance: int, enabled: bool, events: list[str]) -> None:
        self.configs[instance] = WebsocketConfig(enabled, tuple(events), media_base64=True)
        configure(self.hub, instance, self.configs[instance])

    def disconnect(self, instance: int) -> None:
        self.hub.disconnect(instance, INSTANCE_DELETED)
        for client in self._connected(instance):
            client.model.connected = client.model.open = False
        self._forget(instance)

    def revoke(self, key: str) -> None:
        self.hub.follow(AccountTokenRevoked(key))
        for client in self.clients:
            if client.model.connected and client.key == key:
                client.model.connected = client.model.open = False
        for instance in INSTANCES:
            self._forget(instance)

    async def settle(self) -> None:
        """The flush and the writers have done what they can."""
        self._hand_out()
        await wait_all_tasks_blocked()

    # The model's half

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

    def _connected(self, instance: int) -> list[Client]:
        return [c for c in self.clients if c.model.connected and c.model.instance == instance]

    def _hand_out(self) -> None:
        for instance, messages in self.waiting.items():
            for client in self._connected(instance):
                for message in messages:
                    client.model.offer(message)
            messages.clear()

    def _forget(self, instance: int) -> None:
        """What waits for the last one who leaves is for nobody, also not for who comes next."""
        if not self._connected(instance):
            self.waiting[instance].clear()

    def check(self) -> None:
        connected = [client for client in self.clients if client.model.connected]
        assert set(self.hub.outboxes()) == {client.outbox for client in connected}
        for instance in INSTANCES:
            count = len(self._connected(instance))
            assert self.hub.connection_count(instance) == count
            assert self.hub.has_subscribers(instance) == (count > 0)
        for client in connected:
            if client.model.open:
                assert client.arrived == client.model.arrived
                assert client.outbox.pending == len(client.model.pending)
                assert client.outbox.pending_bytes == sum(s for _, s in client.model.pending)
        for client in self.clients:
            # Whatever has come is in order, and nothing twice.
            assert client.arrived == sorted(set(client.arrived))
        outboxes = [client.outbox for client in connected]
        assert self.hub.statistics() == HubStatistics(
            instances=len({client.model.instance for client in connected}),
            subscribers=len(connected),
            lagging=sum(outbox.pending > 0 for outbox in outboxes),
            pending=sum(outbox.pending for outbox in outboxes),
            pending_bytes=sum(outbox.pending_bytes for outbox in outboxes),
            unflushed=0,
        )


# Mostly one of them, so that things happen close together.
instances = st.sampled_from((1, 1, 1, 2))
indexes = st.integers(0, 5)
sizes = st.one_of(st.integers(0, 30), st.integers(0, 300))
limits = st.one_of(
    st.builds(OutboxLimits, st.integers(1, 5)),
    st.builds(OutboxLimits, st.just(256), st.integers(1, 3000)),
)
keys = st.sampled_from("abc")
room = st.one_of(st.just(0), st.integers(0, 300), st.integers(0, 5000))
one = st.lists(st.tuples(event_types, sizes), min_size=1, max_size=1)
a_few = st.lists(st.tuples(event_types, sizes), min_size=1, max_size=6)
many = st.lists(st.tuples(event_types, sizes), min_size=1, max_size=80)

subscribe = st.tuples(st.just(World.subscribe), instances, limits, room, keys)
publishing = st.sampled_from([World.publish, World.publish_unseen, World.publish_now])
publications = st.tuples(publishing, instances, st.one_of(one, a_few, many))
others = st.one_of(
    subscribe,
    st.tuples(st.just(World.stall), indexes),
    st.tuples(st.just(World.vanish), indexes),
    st.tuples(st.just(World.close), indexes, disconnects),
    st.tuples(st.just(World.leave), indexes),
    st.tuples(
        st.just(World.configure),
        instances,
        st.sampled_from([True, True, False]),
        st.lists(event_types, unique=True, max_size=3),
    ),
    st.tuples(st.just(World.disconnect), instances),
    st.tuples(st.just(World.revoke), keys),
    st.tuples(st.just(World.settle)),
)
reads = st.tuples(st.just(World.read), indexes, room)
anything = st.one_of(publications, publications, reads, others)
# Nothing happens without clients, so each begins with some.
histories = st.builds(
    list.__add__,
    st.lists(subscribe, min_size=1, max_size=4),
    st.lists(anything, min_size=15, max_size=60),
)


# Where chance seldom leads: a lone publisher behind what waits, and each limit met exactly,
# and a peer that is gone where only a writer can notice.
A_WORD = [("call.update", 3)]
OVERTAKING = [
    (World.subscribe, 1, OutboxLimits(), 5000, "a"),
    (World.publish_unseen, 1, A_WORD),
    (World.publish_now, 1, A_WORD),
]
AT_THE_LIMIT = [
    (World.subscribe, 1, OutboxLimits(messages=2), 10, "a"),
    *[(World.publish, 1, A_WORD)] * 3,
]
GONE_WHILE_LAGGING = [
    (World.subscribe, 1, OutboxLimits(), 0, "a"),
    (World.publish, 1, A_WORD),
    (World.publish_unseen, 1, A_WORD),
    (World.vanish, 0),
    (World.publish, 1, A_WORD),
]
AT_THE_BYTE_LIMIT = [
    (World.subscribe, 1, OutboxLimits(bytes=2 * A_FRAME), 10, "a"),
    *[(World.publish, 1, A_WORD)] * 3,
]


@given(histories)
@example(OVERTAKING)
@example(AT_THE_LIMIT)
@example(AT_THE_BYTE_LIMIT)
@example(GONE_WHILE_LAGGING)
@settings(deadline=None, max_examples=100)
def test_any_history_agrees_with_the_model(history: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(nursery)
            nursery.start_soon(world.hub.run)
            for step, *arguments in history:
                done = step(world, *arguments)
                if done is not None:
                    await done
                    await world.settle()
                    world.check()
            await world.settle()
            world.check()
            while world.clients:
                world.leave(0)
            assert world.hub.statistics() == NOBODY
            nursery.cancel_scope.cancel()

    with capture_logs() as logs:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert logs == []


async def test_a_frame_is_as_large_as_the_examples_say(nursery: trio.Nursery) -> None:
    world = World(nursery)
    assert world._message(world._event(*A_WORD[0])) == (1, A_FRAME)
