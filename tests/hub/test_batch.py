"""The batch: its bounds, and one encoding per view."""

import zlib
from contextlib import ExitStack
from typing import Any

import trio

from ryze.hub.batch import Batch
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.websocket.encodings import DEFLATED, PLAIN
from tests.fakes import FakeTransport, make_instance
from tests.hub.harness import Client, number, publish


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
