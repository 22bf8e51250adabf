"""The batch: when it is full, and messages joined for one send."""

import trio

from ryze.events.event import instance_data
from ryze.hub.batch import Batch, Messages
from ryze.hub.hub import Hub
from tests.fakes import make_instance
from tests.hub.harness import FakeSubscriber, numbered_event

MEBIBYTE = 1024 * 1024


def test_a_batch_is_full_at_64_events() -> None:
    batch = Batch()
    for _ in range(63):
        batch.add(b"x")
    assert not batch.is_full
    batch.add(b"x")
    assert batch.is_full


def test_a_batch_is_full_at_one_mebibyte() -> None:
    batch = Batch()
    batch.add(bytes(MEBIBYTE - 1))
    assert not batch.is_full
    batch.add(b"x")
    assert batch.is_full


async def test_one_mebibyte_is_accepted_before_the_next_producer_waits_for_room(
    idle_hub: Hub, nursery: trio.Nursery
) -> None:
    tail = instance_data("http://ryze.test", "shop", "token-1")
    overhead = len(numbered_event(1).envelope(tail))
    with idle_hub.subscribed(make_instance(), FakeSubscriber(nursery).outbox):
        batch = idle_hub.publish(1, numbered_event(1, padding=MEBIBYTE - overhead - 1))
        assert batch is not None
        assert not batch.is_full
        await idle_hub.wait_for_room(1)
        idle_hub.publish(1, numbered_event(2))
        with trio.move_on_after(0) as scope:
            await idle_hub.wait_for_room(1)
        assert scope.cancelled_caught


def test_joining_a_single_message_copies_nothing() -> None:
    messages = Messages([b"message"])
    assert messages.joined is messages.parts[0]
