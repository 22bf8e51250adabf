"""The hub: who gets what, in which order, and what nobody has to wait for."""

import threading
import zlib
from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

import ryze.events.event
from ryze.changes import AccountTokenRevoked, InstanceTokenChanged
from ryze.disconnects import CONNECTION_LOST, INSTANCE_DELETED, SLOW_CONSUMER, TOKEN_REVOKED
from ryze.events.event import EVENT_TYPES, Event
from ryze.events.media import with_base64_omitted
from ryze.hub.hub import Batch, Hub, HubStatistics
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.records import InstanceSettings, WebsocketConfig
from ryze.websocket.encodings import DEFLATED, PLAIN
from tests.fakes import EVERYTHING, FakeTransport, make_instance, server_frames
from tests.hub.operations import change_settings, configure, publish

NOBODY = HubStatistics(0, 0, 0, 0, 0, 0)
MEDIA = b'{"message":{"media":{"mimeType":"image/png","base64":"QUJD"}}}'
WITHOUT_MEDIA = b'{"message":{"media":{"mimeType":"image/png"}}}'


class Client:
    """A subscriber: a real outbox on a fake wire."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        room: float = float("inf"),
        limits: OutboxLimits | None = None,
        compressed: bool = False,
    ) -> None:
        self.transport = FakeTransport(room)
        self.outbox = Outbox(
            self.transport,
            limits or OutboxLimits(),
            DEFLATED if compressed else PLAIN,
            start_writer=lambda: nursery.start_soon(self.outbox.write),
            on_close=lambda: None,
        )

    @property
    def documents(self) -> list[bytes]:
        """The whole text messages that have arrived."""
        return [f.payload for f in server_frames(self.transport.taken)[0] if f.opcode == 1]

    @property
    def data(self) -> list[Any]:
        return [msgspec.json.decode(document)["data"] for document in self.documents]


def flushes(hub: Hub) -> int:
    """Batches that were flushed."""
    return list(hub.counters.flush_events.cumulative())[-1][1]


def number(n: int, *, type: Any = "call.update", padding: int = 0) -> Event:
    return Event(type, b'{"n":%d,"p":"%b"}' % (n, b"x" * padding))


def numbers(client: Client) -> list[int]:
    return [data["n"] for data in client.data]


@pytest.fixture
def hub() -> Hub:
    return Hub("http://ryze.test")


@pytest.fixture
async def flushing(hub: Hub, nursery: trio.Nursery) -> trio.Nursery:
    """The hub hands out what is published."""
    nursery.start_soon(hub.run)
    return nursery


# --- What a client gets ---


async def test_a_frame_has_the_three_keys_in_their_order(hub: Hub, flushing: trio.Nursery) -> None:
    client = Client(flushing)
    with hub.subscribed(make_instance(7), client.outbox):
        assert await publish(hub, 7, [Event("label.update", b'{"id" : "\xc3\xa9"}')]) == 1
    assert client.documents == [
        b'{"event":"label.update","data":{"id" : "\xc3\xa9"},"instanceData":'
        b'{"baseUrl":"http://ryze.test","instance":"shop","token":"token-7"}}'
    ]


async def test_nobody_connected_means_nothing_is_encoded(hub: Hub) -> None:
    class Untouchable(Event):
        def envelope(self, instance_data: bytes) -> bytes:
            raise AssertionError("encoded for nobody")

    event = Untouchable("call.update", b"{}")
    assert not hub.has_subscribers(1)
    assert hub.publish(1, event) is None
    assert await publish(hub, 1, [event] * 1000) == 0
    assert hub.statistics() == NOBODY


async def test_filtered_events_are_not_encoded_either(hub: Hub, nursery: trio.Nursery) -> None:
    config = WebsocketConfig(True, ("call.update",))
    with hub.subscribed(make_instance(1, config), Client(nursery).outbox):
        assert hub.has_subscribers(1)
        assert hub.publish(1, number(0, type="group.flow")) is None
        assert hub.publish(1, number(0)) is not None


@pytest.mark.parametrize("type", EVENT_TYPES)
async def test_an_empty_filter_means_all_events(
    hub: Hub, flushing: trio.Nursery, type: Any
) -> None:
    client = Client(flushing)
    with hub.subscribed(make_instance(1), client.outbox):
        await publish(hub, 1, [number(1, type=type)])
    assert numbers(client) == [1]


async def test_an_instance_without_configuration_gets_nothing(
    hub: Hub, nursery: trio.Nursery
) -> None:
    with hub.subscribed(make_instance(1, None), Client(nursery).outbox):
        assert hub.publish(1, number(0)) is None


async def test_the_configuration_at_the_moment_of_publish_counts(
    hub: Hub, flushing: trio.Nursery
) -> None:
    client = Client(flushing)
    with hub.subscribed(make_instance(1), client.outbox):
        hub.publish(1, Event("message.exchange", MEDIA))
        configure(hub, 1, WebsocketConfig(True, ("call.update", "message.exchange")))
        hub.publish(1, Event("message.exchange", MEDIA))
        hub.publish(1, number(3))
        hub.publish(1, number(4, type="group.flow"))
        configure(hub, 1, WebsocketConfig(False))
        hub.publish(1, number(5))
        await hub.wait_flushed()
        configure(hub, 1, EVERYTHING)
        await publish(hub, 1, [number(6)])
    with_media, without_media, *others = client.documents
    assert MEDIA in with_media
    assert WITHOUT_MEDIA in without_media
    assert numbers_of(others) == [3, 6]


def numbers_of(documents: list[bytes]) -> list[int]:
    return [msgspec.json.decode(document)["data"]["n"] for document in documents]


GROUP = Event("message.exchange", b'{"chat":{"jid":"1@g.us"},"n":1}')
PRIVATE = Event("message.exchange", b'{"chat":{"jid":"1@s.whatsapp.net"},"n":2}')


async def test_ignored_chats_are_those_at_the_moment_of_publish(
    hub: Hub, flushing: trio.Nursery
) -> None:
    client = Client(flushing)
    ignoring = InstanceSettings(ignore_group_messages=True)
    with hub.subscribed(replace(make_instance(1), settings=ignoring), client.outbox):
        assert hub.publish(1, GROUP) is None
        assert await publish(hub, 1, [PRIVATE, GROUP]) == 0
        change_settings(hub, 1, InstanceSettings())
        assert await publish(hub, 1, [GROUP]) == 1
        change_settings(hub, 1, ignoring)
        assert await publish(hub, 1, [GROUP, PRIVATE]) == 1
        assert hub.publish_now(1, deque([GROUP, PRIVATE, GROUP]))
    assert numbers(client) == [2, 1, 2, 2]


async def test_a_frame_over_the_limit_goes_without_its_media(nursery: trio.Nursery) -> None:
    event = Event("message.exchange", MEDIA)
    client, exact = Client(nursery), Hub("http://ryze.test")
    with exact.subscribed(make_instance(1), client.outbox):
        exact.publish_now(1, deque([event]))
    size = len(client.documents[0])
    for limit, is_whole in ((0, True), (size, True), (size - 1, False), (1, False)):
        hub, client = Hub("http://ryze.test", limit), Client(nursery)
        with hub.subscribed(make_instance(1), client.outbox):
            hub.publish_now(1, deque([event, number(1)]))
            media = client.data[0]["message"]["media"]
            assert media.pop("mimeType") == "image/png"
            assert media == ({"base64": "QUJD"} if is_whole else {"base64Omitted": "too_large"})
            # What has no media goes as it is, however large.
            assert client.data[1]["n"] == 1


async def test_who_wants_no_media_is_not_told_that_it_was_too_large(nursery: trio.Nursery) -> None:
    hub, client = Hub("http://ryze.test", 1), Client(nursery)
    with hub.subscribed(make_instance(1, WebsocketConfig(True)), client.outbox):
        hub.publish_now(1, deque([Event("message.exchange", MEDIA)]))
    assert WITHOUT_MEDIA in client.documents[0]


async def test_large_media_is_left_out_in_a_thread(
    flushing: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, client = Hub("http://ryze.test", 10_000), Client(flushing)
    flushing.start_soon(hub.run)
    threads = set()

    def omit(data: bytes) -> bytes:
        threads.add(threading.current_thread())
        return with_base64_omitted(data)

    monkeypatch.setattr(ryze.events.event, "with_base64_omitted", omit)
    heavy = MEDIA.replace(b"QUJD", b"QUJD" * 10_000)
    with hub.subscribed(make_instance(1), client.outbox):
        await publish(hub, 1, [number(0), Event("message.exchange", heavy), number(2)])
    assert [data.get("n") for data in client.data] == [0, None, 2]
    assert client.data[1]["message"]["media"]["base64Omitted"] == "too_large"
    assert threading.main_thread() not in threads
    assert len(threads) == 1


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


async def test_all_clients_share_one_encoding(hub: Hub, nursery: trio.Nursery) -> None:
    """The very same objects, for each of the two variants."""
    seen: list[Any] = []

    class Noting(Outbox):
        def offer(self, frames: Any) -> bool:
            seen.append(frames)
            return super().offer(frames)

    with ExitStack() as stack:
        for compressed in (False, True, False, True):
            outbox = Noting(
                FakeTransport(),
                OutboxLimits(),
                DEFLATED if compressed else PLAIN,
                start_writer=lambda: None,
                on_close=lambda: None,
            )
            stack.enter_context(hub.subscribed(make_instance(), outbox))
        hub.publish(1, number(1))
        nursery.start_soon(hub.run)
        await hub.wait_flushed()
    # The flush goes from view to view.
    plain, again, deflated, deflated_again = seen
    assert plain is again
    assert deflated is deflated_again
    assert plain.joined is plain.parts[0]
    assert plain is not deflated


async def test_compressed_clients_get_the_same_documents(hub: Hub, flushing: trio.Nursery) -> None:
    plain, compressed = Client(flushing), Client(flushing, compressed=True)
    with (
        hub.subscribed(make_instance(), plain.outbox),
        hub.subscribed(make_instance(), compressed.outbox),
    ):
        await publish(hub, 1, [number(1), number(2)])
    inflated = [
        zlib.decompressobj(wbits=-15).decompress(document + b"\x00\x00\xff\xff")
        for document in compressed.documents
    ]
    assert inflated == plain.documents


# --- Order, back-pressure, counts ---


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


async def test_a_mebibyte_waits_and_the_next_publisher_waits_for_room(
    hub: Hub, nursery: trio.Nursery
) -> None:
    config = len(
        number(1).envelope(b'{"baseUrl":"http://ryze.test","instance":"shop","token":"token-1"}')
    )
    with hub.subscribed(make_instance(), Client(nursery).outbox):
        batch = hub.publish(1, number(1, padding=1024 * 1024 - config - 1))
        assert batch is not None
        assert not batch.is_full
        await hub.wait_for_room(1)
        hub.publish(1, number(2))
        with trio.move_on_after(0) as scope:
            await hub.wait_for_room(1)
        assert scope.cancelled_caught
    batch = Batch()
    batch.add(bytes(1024 * 1024 - 1))
    assert not batch.is_full
    batch.add(b"x")
    assert batch.is_full


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


# --- Who leaves ---


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
    assert broken.outbox.disconnect is CONNECTION_LOST
    assert [(log["event"], log["log_level"]) for log in logs] == [("offer failed", "error")]


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
