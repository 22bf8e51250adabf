"""The flush: order, yields, and what waits for it."""

from contextlib import ExitStack

import trio
from structlog.testing import capture_logs

from ryze.disconnects import GONE
from ryze.hub.hub import Hub
from tests.fakes import make_instance
from tests.hub.harness import Client, flushes, number, numbers, publish


async def test_what_is_published_in_one_tick_goes_out_in_one_piece(
    hub: Hub, flushing: trio.Nursery
) -> None:
    calls: list[int] = []

    client = Client(flushing)
    send = client.transport.send_nowait

    def counting(data: bytes | memoryview) -> int:
        calls.append(len(data))
        return send(data)

    client.transport.send_nowait = counting  # type: ignore[method-assign]
    with hub.subscribed(make_instance(), client.outbox):
        for n in range(10):
            hub.publish(1, number(n))
        await hub.wait_flushed()
    assert len(calls) == 1
    assert numbers(client) == list(range(10))


async def test_order_is_kept_across_batches_and_slices(hub: Hub, flushing: trio.Nursery) -> None:
    """600 clients: a flush yields twice, and publishers go on meanwhile."""
    clients = [Client(flushing) for _ in range(600)]
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(hub.subscribed(make_instance(), client.outbox))
        async with trio.open_nursery() as publishers:
            for first in (0, 1000, 2000):
                events = [number(n) for n in range(first, first + 200)]
                publishers.start_soon(publish, hub, 1, events)
    everybody = numbers(clients[0])
    assert sorted(everybody) == [*range(200), *range(1000, 1200), *range(2000, 2200)]
    for publisher in range(3):
        own = [n for n in everybody if n // 1000 == publisher]
        assert own == sorted(own)
    for client in clients:
        assert client.transport.taken == clients[0].transport.taken


async def test_a_flush_over_many_clients_lets_others_run(hub: Hub, flushing: trio.Nursery) -> None:
    progress: list[int] = []
    clients = [Client(flushing) for _ in range(600)]

    async def watch() -> None:
        while not progress or progress[-1] < 600:
            progress.append(sum(bool(client.transport.taken) for client in clients))
            await trio.lowlevel.checkpoint()

    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(hub.subscribed(make_instance(), client.outbox))
        flushing.start_soon(watch)
        hub.publish(1, number(1))
        while not progress or progress[-1] < 600:
            await trio.lowlevel.checkpoint()
    assert {256, 512} & set(progress)


async def test_flushed_ends_although_publishers_never_pause(
    hub: Hub, flushing: trio.Nursery
) -> None:
    """Else a shutdown would wait for them."""
    client = Client(flushing)
    with hub.subscribed(make_instance(), client.outbox):
        hub.publish(1, number(1))

        async def publish_for_ever() -> None:
            while True:
                hub.publish(1, number(2))
                await trio.lowlevel.checkpoint()
                await hub.wait_for_room(1)

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(publish_for_ever)
            await trio.lowlevel.checkpoint()
            for _ in range(20):
                before = flushes(hub)
                await hub.wait_flushed()
                assert flushes(hub) <= before + 2
            nursery.cancel_scope.cancel()
    assert numbers(client)[0] == 1


async def test_flushed_waits_for_what_is_published_during_a_flush(
    hub: Hub, flushing: trio.Nursery
) -> None:
    clients = [Client(flushing) for _ in range(600)]
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(hub.subscribed(make_instance(), client.outbox))
        hub.publish(1, number(1))
        while not clients[0].transport.taken:
            await trio.lowlevel.checkpoint()
        assert not clients[-1].transport.taken
        hub.publish(1, number(2))
        await hub.wait_flushed()
        assert numbers(clients[-1]) == [1, 2]
    await hub.wait_flushed()


async def test_a_crash_in_one_outbox_ends_that_client_only(
    hub: Hub, flushing: trio.Nursery
) -> None:
    first, broken, last = (Client(flushing) for _ in range(3))

    def crash(data: object) -> int:
        raise ZeroDivisionError

    broken.transport.send_nowait = crash  # type: ignore[method-assign]
    with ExitStack() as stack, capture_logs() as logs:
        for client in (first, broken, last):
            stack.enter_context(hub.subscribed(make_instance(), client.outbox))
        assert await publish(hub, 1, [number(1)]) == 2
        assert await publish(hub, 1, [number(2)]) == 2
        assert hub.connection_count(1) == 2
    assert numbers(first) == numbers(last) == [1, 2]
    assert broken.outbox.disconnect is GONE
    assert [(log["event"], log["log_level"]) for log in logs] == [("offer failed", "error")]


async def test_who_comes_back_during_a_flush_is_not_lost(hub: Hub, flushing: trio.Nursery) -> None:
    """The instance leaves the hub with a batch under way, and is back before that is out."""
    gone, back = Client(flushing), Client(flushing)
    with hub.subscribed(make_instance(), gone.outbox):
        batch = hub.publish(1, number(1))
    assert batch is not None
    with hub.subscribed(make_instance(), back.outbox):
        hub.publish(1, number(2))
        await batch.flushed.wait()
        await hub.wait_flushed()
    assert numbers(gone) == []
    assert numbers(back) == [2]
