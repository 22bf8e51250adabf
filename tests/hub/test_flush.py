"""The flush: one send per subscriber, order, yields to other tasks, and waiting for it."""

from contextlib import ExitStack

import trio
from structlog.testing import capture_logs

from ryze.disconnects import CONNECTION_LOST
from ryze.hub.hub import Hub
from tests.fakes import FakeTransport, make_instance
from tests.hub.harness import (
    FakeSubscriber,
    count_flushed_batches,
    numbered_event,
    publish,
    received_numbers,
)


async def test_events_of_one_scheduler_tick_take_one_send_per_subscriber(
    hub: Hub, nursery: trio.Nursery
) -> None:
    class CountingTransport(FakeTransport):
        sends = 0

        def send_nowait(self, data: bytes | memoryview) -> int:
            self.sends += 1
            return super().send_nowait(data)

    transport = CountingTransport()
    subscriber = FakeSubscriber(nursery, transport=transport)
    with hub.subscribed(make_instance(), subscriber.outbox):
        for n in range(10):
            hub.publish(1, numbered_event(n))
        await hub.wait_flushed()
    assert transport.sends == 1
    assert received_numbers(subscriber) == list(range(10))


async def test_order_is_kept_across_batches_and_slices(hub: Hub, nursery: trio.Nursery) -> None:
    """600 subscribers: a flush yields twice, and producers continue meanwhile."""
    subscribers = [FakeSubscriber(nursery) for _ in range(600)]
    with ExitStack() as stack:
        for subscriber in subscribers:
            stack.enter_context(hub.subscribed(make_instance(), subscriber.outbox))
        async with trio.open_nursery() as producers:
            for first in (0, 1000, 2000):
                events = [numbered_event(n) for n in range(first, first + 200)]
                producers.start_soon(publish, hub, 1, events)
    numbers = received_numbers(subscribers[0])
    assert sorted(numbers) == [*range(200), *range(1000, 1200), *range(2000, 2200)]
    for producer in range(3):
        own = [n for n in numbers if n // 1000 == producer]
        assert own == sorted(own)
    for subscriber in subscribers:
        assert subscriber.transport.taken == subscribers[0].transport.taken


async def test_a_flush_over_many_subscribers_yields_to_other_tasks(
    hub: Hub, nursery: trio.Nursery
) -> None:
    progress: list[int] = []
    subscribers = [FakeSubscriber(nursery) for _ in range(600)]

    async def watch() -> None:
        while not progress or progress[-1] < 600:
            progress.append(sum(bool(subscriber.transport.taken) for subscriber in subscribers))
            await trio.lowlevel.checkpoint()

    with ExitStack() as stack:
        for subscriber in subscribers:
            stack.enter_context(hub.subscribed(make_instance(), subscriber.outbox))
        nursery.start_soon(watch)
        hub.publish(1, numbered_event(1))
        while not progress or progress[-1] < 600:
            await trio.lowlevel.checkpoint()
    assert {256, 512} & set(progress)


async def test_wait_flushed_returns_while_producers_never_pause(
    hub: Hub, nursery: trio.Nursery
) -> None:
    """Or a shutdown would never end."""
    subscriber = FakeSubscriber(nursery)
    with hub.subscribed(make_instance(), subscriber.outbox):
        hub.publish(1, numbered_event(1))

        async def publish_forever() -> None:
            while True:
                hub.publish(1, numbered_event(2))
                await trio.lowlevel.checkpoint()
                await hub.wait_for_room(1)

        async with trio.open_nursery() as producers:
            for _ in range(30):
                producers.start_soon(publish_forever)
            await trio.lowlevel.checkpoint()
            for _ in range(20):
                before = count_flushed_batches(hub)
                await hub.wait_flushed()
                assert count_flushed_batches(hub) <= before + 2
            producers.cancel_scope.cancel()
    assert received_numbers(subscriber)[0] == 1


async def test_wait_flushed_includes_events_published_during_a_flush(
    hub: Hub, nursery: trio.Nursery
) -> None:
    subscribers = [FakeSubscriber(nursery) for _ in range(600)]
    with ExitStack() as stack:
        for subscriber in subscribers:
            stack.enter_context(hub.subscribed(make_instance(), subscriber.outbox))
        hub.publish(1, numbered_event(1))
        while not subscribers[0].transport.taken:
            await trio.lowlevel.checkpoint()
        assert not subscribers[-1].transport.taken
        hub.publish(1, numbered_event(2))
        await hub.wait_flushed()
        assert received_numbers(subscribers[-1]) == [1, 2]
    await hub.wait_flushed()


async def test_a_bug_in_one_outbox_ends_only_that_subscriber(
    hub: Hub, nursery: trio.Nursery
) -> None:
    class BrokenTransport(FakeTransport):
        def send_nowait(self, data: bytes | memoryview) -> int:
            raise ZeroDivisionError

    first, last = FakeSubscriber(nursery), FakeSubscriber(nursery)
    broken = FakeSubscriber(nursery, transport=BrokenTransport())
    with ExitStack() as stack, capture_logs() as logs:
        for subscriber in (first, broken, last):
            stack.enter_context(hub.subscribed(make_instance(), subscriber.outbox))
        assert await publish(hub, 1, [numbered_event(1)]) == 2
        assert await publish(hub, 1, [numbered_event(2)]) == 2
        assert hub.connection_count(1) == 2
    assert received_numbers(first) == received_numbers(last) == [1, 2]
    assert broken.outbox.disconnect is CONNECTION_LOST
    assert [(log["event"], log["log_level"]) for log in logs] == [("offer failed", "error")]


async def test_a_subscriber_gets_only_events_published_after_it_came(
    hub: Hub, nursery: trio.Nursery
) -> None:
    """The last subscriber leaves before the flush of a batch, and a new one comes before it too."""
    former, newcomer = FakeSubscriber(nursery), FakeSubscriber(nursery)
    with hub.subscribed(make_instance(), former.outbox):
        batch = hub.publish(1, numbered_event(1))
    assert batch is not None
    with hub.subscribed(make_instance(), newcomer.outbox):
        hub.publish(1, numbered_event(2))
        await batch.flushed.wait()
        await hub.wait_flushed()
    assert received_numbers(former) == []
    assert received_numbers(newcomer) == [2]
