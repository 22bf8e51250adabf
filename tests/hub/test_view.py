"""Views: events are encoded once per view, by whatever encoding the view has."""

import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from ryze.disconnects import INSTANCE_DELETED, Disconnect
from ryze.events.event import instance_data
from ryze.hub.batch import Messages
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.hub.view import Encoding, View
from ryze.websocket.views import DEFLATED, PLAIN
from tests.fakes import FakeTransport, make_instance
from tests.hub.harness import FakeSubscriber, numbered_event, publish


class LineEncoding:
    """One line per event, so no WebSocket; records the calls of its encoder."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []
        self.encoding = Encoding(self._encode_message, self._encode_close)

    def _encode_message(self, envelope: bytes) -> bytes:
        self.encoded.append(envelope)
        return envelope + b"\n"

    def _encode_close(self, disconnect: Disconnect) -> bytes:
        return b"closed: %d %b\n" % (disconnect.code, disconnect.reason.encode())

    def view(self) -> View:
        return View(self.encoding)


class RecordingOutbox(Outbox):
    """Records the objects that it is offered."""

    def __init__(self, view: View) -> None:
        super().__init__(
            FakeTransport(),
            OutboxLimits(),
            view,
            start_writer=lambda: None,
            on_close=lambda: None,
        )
        self.offered: list[Messages] = []

    def offer(self, messages: Messages) -> bool:
        self.offered.append(messages)
        return super().offer(messages)


@contextmanager
def subscribed_outboxes(hub: Hub, *views: View) -> Iterator[list[RecordingOutbox]]:
    outboxes = [RecordingOutbox(view) for view in views]
    with ExitStack() as stack:
        for outbox in outboxes:
            stack.enter_context(hub.subscribed(make_instance(), outbox))
        yield outboxes


async def test_subscribers_with_equal_views_share_one_encoding(hub: Hub) -> None:
    """Equal views need not be the same object; the shared messages are."""
    views = PLAIN, View(DEFLATED.encoding), View(PLAIN.encoding), DEFLATED
    assert views[0] is not views[2]
    with subscribed_outboxes(hub, *views) as outboxes:
        hub.publish(1, numbered_event(1))
        await hub.wait_flushed()
        (plain,), (deflated,), (also_plain,), (also_deflated,) = (o.offered for o in outboxes)
    assert plain is also_plain
    assert deflated is also_deflated
    assert plain.joined is plain.parts[0]
    assert plain.parts != deflated.parts


async def test_an_event_is_encoded_once_per_view_for_any_number_of_subscribers(hub: Hub) -> None:
    """Across the slices of a flush too."""
    one, other = LineEncoding(), LineEncoding()
    views = [one.view() for _ in range(600)] + [other.view()]
    with subscribed_outboxes(hub, *views):
        assert await publish(hub, 1, [numbered_event(1), numbered_event(2)]) == 601
    tail = instance_data("http://ryze.test", "shop", "token-1")
    envelopes = [numbered_event(n).envelope(tail) for n in (1, 2)]
    assert one.encoded == other.encoded == envelopes


async def test_an_event_published_on_the_spot_is_encoded_once_per_view(idle_hub: Hub) -> None:
    lines = LineEncoding()
    with subscribed_outboxes(idle_hub, *[lines.view()] * 200, PLAIN) as outboxes:
        assert idle_hub.publish_now(1, deque([numbered_event(1)]))
        assert [len(outbox.offered) for outbox in outboxes] == [1] * 201
    assert len(lines.encoded) == 1


async def test_a_view_without_subscribers_is_not_encoded(hub: Hub, nursery: trio.Nursery) -> None:
    lines = LineEncoding()
    plain = FakeSubscriber(nursery)
    with hub.subscribed(make_instance(), plain.outbox):
        with subscribed_outboxes(hub, lines.view()):
            await publish(hub, 1, [numbered_event(1)])
        await publish(hub, 1, [numbered_event(2)])
    assert len(lines.encoded) == 1
    assert len(plain.documents) == 2


async def test_an_encoding_of_another_protocol_gets_envelopes_and_its_own_close(
    hub: Hub, nursery: trio.Nursery
) -> None:
    """The hub and the outbox know bytes, no frames."""
    lines = LineEncoding()
    plain = FakeSubscriber(nursery)
    other = FakeSubscriber(nursery, view=lines.view())
    with (
        hub.subscribed(make_instance(), plain.outbox),
        hub.subscribed(make_instance(), other.outbox),
    ):
        await publish(hub, 1, [numbered_event(1), numbered_event(2)])
        hub.disconnect(1, INSTANCE_DELETED)
    expected = [*plain.documents, b"closed: 4504 instance deleted"]
    assert bytes(other.transport.taken).splitlines() == expected


async def test_a_slow_consumer_gets_the_close_of_its_encoding(
    hub: Hub, nursery: trio.Nursery
) -> None:
    slow = FakeSubscriber(
        nursery,
        transport=FakeTransport(3),
        limits=OutboxLimits(messages=1),
        view=LineEncoding().view(),
    )
    with hub.subscribed(make_instance(), slow.outbox):
        assert await publish(hub, 1, [numbered_event(1), numbered_event(2)]) == 0
        slow.transport.read()
        await wait_all_tasks_blocked()
    document, close = bytes(slow.transport.taken).splitlines()
    assert document.startswith(b'{"event":"call.update","data":{"n":1,')
    assert close == b"closed: 4008 slow consumer"


async def test_compressed_subscribers_receive_the_same_documents(
    hub: Hub, nursery: trio.Nursery
) -> None:
    plain, compressed = FakeSubscriber(nursery), FakeSubscriber(nursery, view=DEFLATED)
    with (
        hub.subscribed(make_instance(), plain.outbox),
        hub.subscribed(make_instance(), compressed.outbox),
    ):
        await publish(hub, 1, [numbered_event(1), numbered_event(2)])
    inflated = [
        zlib.decompressobj(wbits=-15).decompress(document + b"\x00\x00\xff\xff")
        for document in compressed.documents
    ]
    assert inflated == plain.documents
