"""The hub: its index of connections, changes of configuration, and waiting for room."""

from dataclasses import replace

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from ryze.changes import AccountTokenRevoked, InstanceTokenChanged
from ryze.disconnects import INSTANCE_DELETED, TOKEN_REVOKED
from ryze.events.event import Event
from ryze.hub.hub import Hub, HubStatistics
from ryze.hub.outbox import OutboxLimits
from ryze.records import InstanceSettings
from tests.fakes import EVERYTHING, FakeTransport, make_instance, server_frames
from tests.hub.harness import (
    EMPTY_HUB,
    FakeSubscriber,
    change_settings,
    configure,
    numbered_event,
    publish,
    received_numbers,
)


async def test_an_event_without_subscribers_is_not_encoded(idle_hub: Hub) -> None:
    class Unencodable(Event):
        def envelope(self, *args: object) -> bytes:
            raise AssertionError("encoded without subscribers")

    event = Unencodable("call.update", b"{}")
    assert not idle_hub.has_subscribers(1)
    assert idle_hub.publish(1, event) is None
    assert await publish(idle_hub, 1, [event] * 1000) == 0
    assert idle_hub.statistics() == EMPTY_HUB


async def test_a_change_of_an_instance_without_subscribers_is_not_kept(idle_hub: Hub) -> None:
    configure(idle_hub, 1, EVERYTHING)
    change_settings(idle_hub, 1, InstanceSettings())
    idle_hub.disconnect(1, INSTANCE_DELETED)
    assert idle_hub.statistics() == EMPTY_HUB


async def test_events_reach_only_the_subscribers_of_their_instance(
    hub: Hub, nursery: trio.Nursery
) -> None:
    one, other = FakeSubscriber(nursery), FakeSubscriber(nursery)
    with (
        hub.subscribed(make_instance(1), one.outbox),
        hub.subscribed(make_instance(2), other.outbox),
    ):
        hub.publish(1, numbered_event(1))
        hub.publish(2, numbered_event(2))
        await hub.wait_flushed()
    assert (received_numbers(one), received_numbers(other)) == ([1], [2])


async def test_64_events_are_pending_before_the_next_producer_waits_for_room(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    with idle_hub.subscribed(make_instance(), FakeSubscriber(nursery).outbox):
        for n in range(63):
            idle_hub.publish(1, numbered_event(n))
        await idle_hub.wait_for_room(1)
        idle_hub.publish(1, numbered_event(63))
        assert idle_hub.statistics().unflushed == 64
        with trio.move_on_after(0) as scope:
            await idle_hub.wait_for_room(1)
        assert scope.cancelled_caught
        nursery.start_soon(idle_hub.run)
        await idle_hub.wait_for_room(1)
        assert idle_hub.statistics().unflushed == 0


async def test_a_full_instance_does_not_block_others(idle_hub: Hub, nursery: trio.Nursery) -> None:
    with (
        idle_hub.subscribed(make_instance(1), FakeSubscriber(nursery).outbox),
        idle_hub.subscribed(make_instance(2), FakeSubscriber(nursery).outbox),
    ):
        for n in range(64):
            idle_hub.publish(1, numbered_event(n))
        await idle_hub.wait_for_room(2)
        await idle_hub.wait_for_room(3)


async def test_a_waiting_producer_continues_after_the_last_subscriber_leaves(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    with idle_hub.subscribed(make_instance(), FakeSubscriber(nursery).outbox):
        for n in range(64):
            idle_hub.publish(1, numbered_event(n))
        nursery.start_soon(idle_hub.wait_for_room, 1)
        await wait_all_tasks_blocked()
    nursery.start_soon(idle_hub.run)
    await idle_hub.wait_flushed()
    await idle_hub.wait_for_room(1)
    assert idle_hub.statistics() == EMPTY_HUB


async def test_a_slow_consumer_is_removed_at_once(hub: Hub, nursery: trio.Nursery) -> None:
    """Before its connection has noticed the overflow."""
    slow = FakeSubscriber(nursery, transport=FakeTransport(0), limits=OutboxLimits(1))
    with hub.subscribed(make_instance(), slow.outbox):
        assert await publish(hub, 1, [numbered_event(1), numbered_event(2)]) == 0
        assert hub.statistics() == EMPTY_HUB
        assert not hub.has_subscribers(1)
        newcomer = FakeSubscriber(nursery)
        with hub.subscribed(make_instance(), newcomer.outbox):
            await publish(hub, 1, [numbered_event(3)])
            assert received_numbers(newcomer) == [3]
    assert hub.statistics() == EMPTY_HUB


async def test_statistics_count_pending_messages(hub: Hub, nursery: trio.Nursery) -> None:
    slow, quick = FakeSubscriber(nursery, transport=FakeTransport(10)), FakeSubscriber(nursery)
    with (
        hub.subscribed(make_instance(), slow.outbox),
        hub.subscribed(make_instance(), quick.outbox),
    ):
        await publish(hub, 1, [numbered_event(1), numbered_event(2)])
        size = len(quick.transport.taken)
        assert hub.statistics() == HubStatistics(1, 2, 1, 2, size, 0)
        assert repr(hub) == f"<Hub {hub.statistics()}>"
        hub.publish(1, numbered_event(3))
        assert hub.statistics().unflushed == 1


async def test_a_lost_connection_is_not_counted_as_reached(hub: Hub, nursery: trio.Nursery) -> None:
    lost = FakeSubscriber(nursery)
    lost.transport.fail()
    with hub.subscribed(make_instance(), lost.outbox):
        assert await publish(hub, 1, [numbered_event(1)]) == 0
        assert hub.statistics() == EMPTY_HUB


async def test_disconnect_ends_every_connection_of_one_instance(
    hub: Hub, nursery: trio.Nursery
) -> None:
    one, two, other, producer = (FakeSubscriber(nursery) for _ in range(4))
    with (
        hub.subscribed(make_instance(1), one.outbox),
        hub.subscribed(make_instance(1), two.outbox),
        hub.subscribed(make_instance(2), other.outbox),
        hub.producing(make_instance(1), producer.outbox),
    ):
        hub.disconnect(1, INSTANCE_DELETED)
        for ended in (one, two, producer):
            assert ended.outbox.disconnect is INSTANCE_DELETED
        assert hub.outboxes() == [other.outbox]
        # The producer stays until its connection has ended.
        assert hub.connection_count(1) == 1
        assert hub.connection_count(2) == 1
        await wait_all_tasks_blocked()
        assert server_frames(one.transport.taken)[0][0].close_code == 4504
    assert hub.statistics() == EMPTY_HUB


async def test_revoking_a_token_ends_only_the_connections_it_opened(
    hub: Hub, nursery: trio.Nursery
) -> None:
    one, two, producer = revoked = [FakeSubscriber(nursery) for _ in range(3)]
    other, other_producer, without_token = [FakeSubscriber(nursery) for _ in range(3)]
    with (
        hub.subscribed(make_instance(1), one.outbox, "old"),
        hub.subscribed(make_instance(1), other.outbox, "other"),
        hub.subscribed(make_instance(1), without_token.outbox),
        hub.subscribed(make_instance(2), two.outbox, "old"),
        hub.producing(make_instance(2), producer.outbox, "old"),
        hub.producing(make_instance(2), other_producer.outbox, "other"),
    ):
        hub.follow(AccountTokenRevoked("old"))
        assert [ended.outbox.disconnect for ended in revoked] == [TOKEN_REVOKED] * 3
        assert hub.outboxes() == [other.outbox, without_token.outbox]
        assert not hub.has_subscribers(2)
        hub.follow(AccountTokenRevoked("old"))
        assert other_producer.outbox.disconnect is None
        assert await publish(hub, 1, [numbered_event(1)]) == 2
        assert [frame.close_code for frame in server_frames(one.transport.taken)[0]] == [4501]
    assert hub.statistics() == EMPTY_HUB


async def test_a_revoked_subscriber_does_not_receive_unflushed_events(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    revoked, other = FakeSubscriber(nursery), FakeSubscriber(nursery)
    with (
        idle_hub.subscribed(make_instance(), revoked.outbox, "old"),
        idle_hub.subscribed(make_instance(), other.outbox, "other"),
    ):
        idle_hub.publish(1, numbered_event(1))
        idle_hub.follow(AccountTokenRevoked("old"))
        nursery.start_soon(idle_hub.run)
        await wait_all_tasks_blocked()
    assert (received_numbers(revoked), received_numbers(other)) == ([], [1])


async def test_envelopes_carry_the_new_token_from_the_next_event_on(
    hub: Hub, nursery: trio.Nursery
) -> None:
    subscriber, newcomer = FakeSubscriber(nursery), FakeSubscriber(nursery)
    instance = replace(make_instance(), token="new")
    hub.follow(InstanceTokenChanged(instance, "void"))
    with hub.subscribed(make_instance(), subscriber.outbox):
        hub.publish(1, numbered_event(1))
        hub.follow(InstanceTokenChanged(instance, "void"))
        hub.publish(1, numbered_event(2))
        with hub.subscribed(instance, newcomer.outbox):
            await publish(hub, 1, [numbered_event(3)])
    tokens = [msgspec.json.decode(each)["instanceData"]["token"] for each in subscriber.documents]
    assert tokens == ["token-1", "new", "new"]
    assert newcomer.documents[-1] == subscriber.documents[-1]


async def test_a_producer_that_leaves_does_not_take_the_other_along(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    one, two = FakeSubscriber(nursery), FakeSubscriber(nursery)
    with idle_hub.producing(make_instance(), one.outbox):
        with idle_hub.producing(make_instance(), two.outbox):
            pass
        idle_hub.disconnect(1, INSTANCE_DELETED)
    assert one.outbox.disconnect is INSTANCE_DELETED
    assert two.outbox.disconnect is None
