"""The hub: who gets what, in which order, and what nobody has to wait for."""

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
from tests.fakes import EVERYTHING, make_instance, server_frames
from tests.hub.harness import NOBODY, Client, change_settings, configure, number, numbers, publish


async def test_nobody_connected_means_nothing_is_encoded(hub: Hub) -> None:
    class Untouchable(Event):
        def envelope(self, instance_data: bytes) -> bytes:
            raise AssertionError("encoded for nobody")

    event = Untouchable("call.update", b"{}")
    assert not hub.has_subscribers(1)
    assert hub.publish(1, event) is None
    assert await publish(hub, 1, [event] * 1000) == 0
    assert hub.statistics() == NOBODY


async def test_a_configuration_for_nobody_is_forgotten(hub: Hub) -> None:
    configure(hub, 1, EVERYTHING)
    change_settings(hub, 1, InstanceSettings())
    hub.disconnect(1, INSTANCE_DELETED)
    assert hub.statistics() == NOBODY


async def test_instances_do_not_hear_each_other(hub: Hub, flushing: trio.Nursery) -> None:
    one, other = Client(flushing), Client(flushing)
    with (
        hub.subscribed(make_instance(1), one.outbox),
        hub.subscribed(make_instance(2), other.outbox),
    ):
        hub.publish(1, number(1))
        hub.publish(2, number(2))
        await hub.wait_flushed()
    assert (numbers(one), numbers(other)) == ([1], [2])


async def test_64_events_wait_and_the_next_publisher_waits_for_room(
    hub: Hub, nursery: trio.Nursery
) -> None:
    with hub.subscribed(make_instance(), Client(nursery).outbox):
        for n in range(63):
            hub.publish(1, number(n))
        await hub.wait_for_room(1)
        hub.publish(1, number(63))
        assert hub.statistics().unflushed == 64
        with trio.move_on_after(0) as scope:
            await hub.wait_for_room(1)
        assert scope.cancelled_caught
        nursery.start_soon(hub.run)
        await hub.wait_for_room(1)
        assert hub.statistics().unflushed == 0


async def test_a_full_instance_makes_no_other_wait(hub: Hub, nursery: trio.Nursery) -> None:
    with (
        hub.subscribed(make_instance(1), Client(nursery).outbox),
        hub.subscribed(make_instance(2), Client(nursery).outbox),
    ):
        for n in range(64):
            hub.publish(1, number(n))
        await hub.wait_for_room(2)
        await hub.wait_for_room(3)


async def test_a_publisher_is_not_stuck_when_the_last_client_leaves(
    hub: Hub, nursery: trio.Nursery
) -> None:
    with hub.subscribed(make_instance(), Client(nursery).outbox):
        for n in range(64):
            hub.publish(1, number(n))
        nursery.start_soon(hub.wait_for_room, 1)
        await wait_all_tasks_blocked()
    nursery.start_soon(hub.run)
    await hub.wait_flushed()
    await hub.wait_for_room(1)
    assert hub.statistics() == NOBODY


async def test_after_a_drop_the_hub_is_as_before(hub: Hub, flushing: trio.Nursery) -> None:
    """At once, and not only when the connection has noticed."""
    slow = Client(flushing, room=0, limits=OutboxLimits(1))
    with hub.subscribed(make_instance(), slow.outbox):
        assert await publish(hub, 1, [number(1), number(2)]) == 0
        assert hub.statistics() == NOBODY
        assert not hub.has_subscribers(1)
        newcomer = Client(flushing)
        with hub.subscribed(make_instance(), newcomer.outbox):
            await publish(hub, 1, [number(3)])
            assert numbers(newcomer) == [3]
    assert hub.statistics() == NOBODY


async def test_statistics_count_what_is_pending(hub: Hub, flushing: trio.Nursery) -> None:
    slow, quick = Client(flushing, room=10), Client(flushing)
    with (
        hub.subscribed(make_instance(), slow.outbox),
        hub.subscribed(make_instance(), quick.outbox),
    ):
        await publish(hub, 1, [number(1), number(2)])
        size = len(quick.transport.taken)
        assert hub.statistics() == HubStatistics(1, 2, 1, 2, size, 0)
        assert repr(hub) == f"<Hub {hub.statistics()}>"
        hub.publish(1, number(3))
        assert hub.statistics().unflushed == 1


async def test_a_lost_client_is_not_counted(hub: Hub, flushing: trio.Nursery) -> None:
    lost = Client(flushing)
    lost.transport.fail()
    with hub.subscribed(make_instance(), lost.outbox):
        assert await publish(hub, 1, [number(1)]) == 0
        assert hub.statistics() == NOBODY


async def test_disconnect_ends_every_connection_of_one_instance(
    hub: Hub, flushing: trio.Nursery
) -> None:
    one, two, other, publisher = (Client(flushing) for _ in range(4))
    with (
        hub.subscribed(make_instance(1), one.outbox),
        hub.subscribed(make_instance(1), two.outbox),
        hub.subscribed(make_instance(2), other.outbox),
        hub.producing(make_instance(1), publisher.outbox),
    ):
        hub.disconnect(1, INSTANCE_DELETED)
        for client in (one, two, publisher):
            assert client.outbox.disconnect is INSTANCE_DELETED
        assert hub.outboxes() == [other.outbox]
        # The publisher is still on its way out.
        assert hub.connection_count(1) == 1
        assert hub.connection_count(2) == 1
        await wait_all_tasks_blocked()
        assert server_frames(one.transport.taken)[0][0].close_code == 4504
    assert hub.statistics() == NOBODY


async def test_revoke_ends_what_one_token_opened_and_nothing_else(
    hub: Hub, flushing: trio.Nursery
) -> None:
    one, two, publisher = revoked = [Client(flushing) for _ in range(3)]
    other, another, unnamed = [Client(flushing) for _ in range(3)]
    with (
        hub.subscribed(make_instance(1), one.outbox, "old"),
        hub.subscribed(make_instance(1), other.outbox, "other"),
        hub.subscribed(make_instance(1), unnamed.outbox),
        hub.subscribed(make_instance(2), two.outbox, "old"),
        hub.producing(make_instance(2), publisher.outbox, "old"),
        hub.producing(make_instance(2), another.outbox, "other"),
    ):
        hub.follow(AccountTokenRevoked("old"))
        assert [client.outbox.disconnect for client in revoked] == [TOKEN_REVOKED] * 3
        assert hub.outboxes() == [other.outbox, unnamed.outbox]
        assert not hub.has_subscribers(2)
        hub.follow(AccountTokenRevoked("old"))
        assert another.outbox.disconnect is None
        assert await publish(hub, 1, [number(1)]) == 2
        assert [frame.close_code for frame in server_frames(one.transport.taken)[0]] == [4501]
    assert hub.statistics() == NOBODY


async def test_a_revoked_client_gets_nothing_of_what_waited_for_the_flush(
    hub: Hub, nursery: trio.Nursery
) -> None:
    revoked, other = Client(nursery), Client(nursery)
    with (
        hub.subscribed(make_instance(), revoked.outbox, "old"),
        hub.subscribed(make_instance(), other.outbox, "other"),
    ):
        hub.publish(1, number(1))
        hub.follow(AccountTokenRevoked("old"))
        nursery.start_soon(hub.run)
        await wait_all_tasks_blocked()
    assert (numbers(revoked), numbers(other)) == ([], [1])


async def test_frames_carry_the_new_token_from_the_next_event_on(
    hub: Hub, flushing: trio.Nursery
) -> None:
    client, newcomer = Client(flushing), Client(flushing)
    instance = replace(make_instance(), token="new")
    hub.follow(InstanceTokenChanged(instance, "void"))
    with hub.subscribed(make_instance(), client.outbox):
        hub.publish(1, number(1))
        hub.follow(InstanceTokenChanged(instance, "void"))
        hub.publish(1, number(2))
        with hub.subscribed(instance, newcomer.outbox):
            await publish(hub, 1, [number(3)])
    tokens = [msgspec.json.decode(each)["instanceData"]["token"] for each in client.documents]
    assert tokens == ["token-1", "new", "new"]
    assert newcomer.documents[-1] == client.documents[-1]


async def test_two_publishers_of_one_instance_leave_one_after_the_other(
    hub: Hub, nursery: trio.Nursery
) -> None:
    one, two = Client(nursery), Client(nursery)
    with hub.producing(make_instance(), one.outbox):
        with hub.producing(make_instance(), two.outbox):
            pass
        hub.disconnect(1, INSTANCE_DELETED)
    assert one.outbox.disconnect is INSTANCE_DELETED
    assert two.outbox.disconnect is None
