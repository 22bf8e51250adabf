"""The publisher: order, back-pressure, cancellation, and the number of subscribers reached."""

from collections import deque

import trio
from trio.testing import wait_all_tasks_blocked

from ryze.disconnects import SLOW_CONSUMER
from ryze.events.event import Event
from ryze.hub.batch import Batch
from ryze.hub.hub import Hub
from ryze.hub.outbox import OutboxLimits
from ryze.publishing.publisher import Publisher
from ryze.records import WebsocketConfig
from tests.fakes import FakeTransport, make_instance
from tests.hub.harness import FakeSubscriber, configure, numbered_event, publish, received_numbers


class RecordingHub(Hub):
    """Records the events of single publishes, and how many were ever unflushed."""

    def __init__(self) -> None:
        super().__init__("http://ryze.test")
        self.published: list[Event] = []
        self.max_unflushed = 0

    def publish(self, instance_id: int, event: Event) -> Batch | None:
        batch = super().publish(instance_id, event)
        self.published.append(event)
        self.max_unflushed = max(self.max_unflushed, self.statistics().unflushed)
        return batch


# --- publish ---


async def test_many_producers_never_exceed_64_unflushed_events(nursery: trio.Nursery) -> None:
    hub = RecordingHub()
    subscriber = FakeSubscriber(nursery)
    with hub.subscribed(make_instance(), subscriber.outbox):
        async with trio.open_nursery() as producers:
            for _ in range(20):
                producers.start_soon(publish, hub, 1, [numbered_event(n) for n in range(50)])
            await wait_all_tasks_blocked()
            nursery.start_soon(hub.run)
    assert hub.max_unflushed == 64
    assert len(received_numbers(subscriber)) == 1000


async def test_publish_returns_how_many_subscribers_accepted_the_last_event(
    hub: Hub, nursery: trio.Nursery
) -> None:
    slow = FakeSubscriber(nursery, transport=FakeTransport(0), limits=OutboxLimits(2))
    with (
        hub.subscribed(make_instance(), slow.outbox),
        hub.subscribed(make_instance(), FakeSubscriber(nursery).outbox),
    ):
        assert await publish(hub, 1, [numbered_event(1), numbered_event(2)]) == 2
        assert await publish(hub, 1, [numbered_event(3)]) == 1
        assert slow.outbox.disconnect is SLOW_CONSUMER
        assert await publish(hub, 1, []) == 0
        configure(hub, 1, WebsocketConfig(True, ("call.update",)))
        assert await publish(hub, 1, [numbered_event(4), numbered_event(5, type="group.flow")]) == 0
        assert await publish(hub, 1, [numbered_event(6, type="group.flow"), numbered_event(7)]) == 1


async def test_a_cancelled_publish_has_published_the_events_before_that_point(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    subscriber = FakeSubscriber(nursery)
    with idle_hub.subscribed(make_instance(), subscriber.outbox):
        with trio.move_on_after(0):
            await publish(idle_hub, 1, [numbered_event(n) for n in range(100)])
        nursery.start_soon(idle_hub.run)
        await idle_hub.wait_flushed()
    assert received_numbers(subscriber) == list(range(64))


# --- publish_unconfirmed ---


async def test_a_stream_is_published_in_order_without_waiting_for_the_flush(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    subscriber = FakeSubscriber(nursery)
    events = deque(numbered_event(n) for n in range(500))
    with idle_hub.subscribed(make_instance(), subscriber.outbox):
        await Publisher(idle_hub).publish_unconfirmed(make_instance(), events)
    assert not events
    assert received_numbers(subscriber) == list(range(500))


async def test_a_stream_does_not_overtake_unflushed_events(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    subscriber = FakeSubscriber(nursery)
    events = deque(numbered_event(n) for n in range(1, 500))
    with idle_hub.subscribed(make_instance(), subscriber.outbox):
        idle_hub.publish(1, numbered_event(0))
        nursery.start_soon(Publisher(idle_hub).publish_unconfirmed, make_instance(), events)
        await wait_all_tasks_blocked()
        assert received_numbers(subscriber) == []
        assert idle_hub.statistics().unflushed == 64
        nursery.start_soon(idle_hub.run)
        await wait_all_tasks_blocked()
    assert received_numbers(subscriber) == list(range(500))


async def test_a_cancelled_stream_leaves_the_events_that_are_not_published(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    subscriber = FakeSubscriber(nursery)
    events = deque(numbered_event(n) for n in range(1, 100))
    with idle_hub.subscribed(make_instance(), subscriber.outbox):
        idle_hub.publish(1, numbered_event(0))
        with trio.move_on_after(0):
            await Publisher(idle_hub).publish_unconfirmed(make_instance(), events)
        assert list(events) == [numbered_event(n) for n in range(64, 100)]
        nursery.start_soon(idle_hub.run)
        await idle_hub.wait_flushed()
    assert received_numbers(subscriber) == list(range(64))


async def test_a_stream_without_subscribers_is_dropped(idle_hub: Hub) -> None:
    events = deque(numbered_event(n) for n in range(500))
    await Publisher(idle_hub).publish_unconfirmed(make_instance(), events)
    assert not events
    assert idle_hub.statistics().unflushed == 0


# --- Fields of logged events ---


def test_id_sequence_and_time_of_an_event_default_to_none() -> None:
    event = Event("call.update", b"{}")
    assert (event.id, event.sequence, event.accepted_at) == (None, None, None)


async def test_id_sequence_and_time_travel_unchanged_and_stay_out_of_the_envelope(
    nursery: trio.Nursery,
) -> None:
    """Through both ways of publishing: with a flush, and on the spot."""
    hub = RecordingHub()
    subscriber = FakeSubscriber(nursery)
    plain = Event("call.update", b"{}")
    event = Event("call.update", b"{}", id="e-1", sequence=7, accepted_at=1700000000.5)
    nursery.start_soon(hub.run)
    with hub.subscribed(make_instance(), subscriber.outbox):
        await publish(hub, 1, [plain, event])
        await Publisher(hub).publish_unconfirmed(make_instance(), deque([event]))
    assert hub.published[1] is event
    assert (event.id, event.sequence, event.accepted_at) == ("e-1", 7, 1700000000.5)
    expected = plain.envelope(b'{"baseUrl":"http://ryze.test","instance":"shop","token":"token-1"}')
    assert subscriber.documents == [expected] * 3
