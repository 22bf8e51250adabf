"""The publisher: order, back-pressure, and the count of subscribers."""

import trio
from trio.testing import wait_all_tasks_blocked

from ryze.disconnects import SLOW_CONSUMER
from ryze.events.event import Event
from ryze.hub.batch import Batch
from ryze.hub.hub import Hub
from ryze.hub.outbox import OutboxLimits
from ryze.records import WebsocketConfig
from tests.fakes import make_instance
from tests.hub.harness import Client, configure, number, numbers, publish


async def test_many_publishers_never_get_past_64(hub: Hub, nursery: trio.Nursery) -> None:
    most = 0
    publish_one = hub.publish

    def noting(instance_id: int, event: Event) -> Batch | None:
        nonlocal most
        batch = publish_one(instance_id, event)
        most = max(most, hub.statistics().unflushed)
        return batch

    hub.publish = noting  # type: ignore[method-assign]
    client = Client(nursery)
    with hub.subscribed(make_instance(), client.outbox):
        async with trio.open_nursery() as publishers:
            for _ in range(20):
                publishers.start_soon(publish, hub, 1, [number(n) for n in range(50)])
            await wait_all_tasks_blocked()
            nursery.start_soon(hub.run)
    assert most == 64
    assert len(numbers(client)) == 1000


async def test_publish_all_counts_whom_the_last_event_was_handed_to(
    hub: Hub, flushing: trio.Nursery
) -> None:
    slow = Client(flushing, room=0, limits=OutboxLimits(2))
    with (
        hub.subscribed(make_instance(), slow.outbox),
        hub.subscribed(make_instance(), Client(flushing).outbox),
    ):
        assert await publish(hub, 1, [number(1), number(2)]) == 2
        assert await publish(hub, 1, [number(3)]) == 1
        assert slow.outbox.disconnect is SLOW_CONSUMER
        assert await publish(hub, 1, []) == 0
        configure(hub, 1, WebsocketConfig(True, ("call.update",)))
        assert await publish(hub, 1, [number(4), number(5, type="group.flow")]) == 0
        assert await publish(hub, 1, [number(6, type="group.flow"), number(7)]) == 1


async def test_a_cancelled_publish_all_has_published_a_first_part(
    hub: Hub, nursery: trio.Nursery
) -> None:
    client = Client(nursery)
    with hub.subscribed(make_instance(), client.outbox):
        with trio.move_on_after(0):
            await publish(hub, 1, [number(n) for n in range(100)])
        nursery.start_soon(hub.run)
        await hub.wait_flushed()
    assert numbers(client) == list(range(64))
