"""Counters of events in the hub, and of connections."""

from collections import deque

import h11
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection

from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.records import DISABLED, WebsocketConfig
from ryze.websocket.server import WebSocketServer
from ryze.websocket.views import PLAIN
from tests.fakes import FakeTransport, make_instance
from tests.hub.harness import configure, publish
from tests.websocket.harness import EVENT, Peer, open_server, serve_upgrade, upgrade


def make_outbox(transport: FakeTransport, limits: OutboxLimits | None = None) -> Outbox:
    """Without a writer: what is pending stays so."""
    return Outbox(
        transport, limits or OutboxLimits(), PLAIN, start_writer=lambda: None, on_close=lambda: None
    )


class Clock:
    """Advances by a second at each reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def counted(hub: Hub) -> dict[str, int]:
    names = ("published", "nobody_connected", "disabled", "filtered", "delivered")
    return {name: getattr(hub.counters, name) for name in names if getattr(hub.counters, name)}


class TestHub:
    def test_discarded_events_are_counted_by_reason(self) -> None:
        hub = Hub("http://ryze.test")
        hub.publish(1, EVENT)
        with hub.subscribed(make_instance(config=None), make_outbox(FakeTransport())):
            hub.publish(1, EVENT)
            configure(hub, 1, WebsocketConfig(True, ("label.update",)))
            for _ in range(3):
                hub.publish(1, EVENT)
        assert counted(hub) == {"published": 5, "nobody_connected": 1, "disabled": 1, "filtered": 3}

    async def test_flush_counts_deliveries_per_subscriber_and_its_duration(
        self, nursery: trio.Nursery
    ) -> None:
        hub = Hub("http://ryze.test", clock=Clock())
        nursery.start_soon(hub.run)
        instance = make_instance()
        with (
            hub.subscribed(instance, make_outbox(FakeTransport())),
            hub.subscribed(instance, make_outbox(FakeTransport())),
        ):
            assert await publish(hub, 1, [EVENT] * 3) == 2
        assert counted(hub) == {"published": 3, "delivered": 6}
        # The clock was read at the first event, at the beginning and at the end.
        assert hub.counters.flush_lag.total == hub.counters.flush_seconds.total == 1
        assert dict(hub.counters.flush_events.cumulative())[4] == 1
        assert hub.counters.flush_events.total == 3

    def test_events_published_without_the_flush_are_counted_alike(self) -> None:
        hub = Hub("http://ryze.test", clock=Clock())
        other = Event("label.update", b"{}")
        assert hub.publish_now(1, deque([EVENT, EVENT]))
        config = WebsocketConfig(True, ("call.update",), media_base64=True)
        with hub.subscribed(make_instance(config=config), make_outbox(FakeTransport())):
            assert hub.publish_now(1, deque([EVENT, other, EVENT, other, other]))
            assert hub.publish_now(1, deque([other]))
            configure(hub, 1, DISABLED)
            assert hub.publish_now(1, deque([EVENT]))
        assert counted(hub) == {
            "published": 9,
            "nobody_connected": 2,
            "filtered": 4,
            "disabled": 1,
            "delivered": 2,
        }
        # Without the flush.
        assert hub.counters.flush_events.total == hub.counters.flush_seconds.total == 0

    def test_batch_that_overflows_an_outbox_is_not_counted_as_delivered(self) -> None:
        hub = Hub("http://ryze.test")
        outbox = make_outbox(FakeTransport(0), OutboxLimits(messages=2))
        with hub.subscribed(make_instance(), outbox):
            for _ in range(3):
                hub.publish_now(1, deque([EVENT]))
        assert counted(hub) == {"published": 3, "delivered": 2}
        assert outbox.discarded == 2


async def connect(
    nursery: trio.Nursery,
    server: WebSocketServer,
    transport: FakeTransport,
    target: str = "/ws/shop",
) -> Peer:
    peer = Peer(transport)
    request = upgrade()
    request = h11.Request(method="GET", target=target, headers=request.headers)
    nursery.start_soon(serve_upgrade, server, transport, request)
    await wait_all_tasks_blocked()
    return peer


class TestWebSocketServer:
    async def test_connections_are_counted_by_role_and_by_cause_of_their_end(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        server = open_server(hub)
        peer = await connect(nursery, server, FakeTransport())
        await connect(nursery, server, FakeTransport(), "/ws/shop/publish")
        lost = await connect(nursery, server, FakeTransport())
        assert server.counters.opened == server.connections_by_role()
        assert server.connections_by_role() == {"subscriber": 2, "producer": 1}
        peer.send(CloseConnection(1000))
        lost.transport.fail()
        await wait_all_tasks_blocked()
        assert server.connections_by_role() == {"producer": 1}
        assert server.counters.opened == {"subscriber": 2, "producer": 1}
        assert +server.counters.disconnected == {"client_closed": 1, "connection_lost": 1}
        nursery.cancel_scope.cancel()

    async def test_events_pending_at_the_end_are_counted_as_lost(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        server = open_server(hub)
        # Room for the 101 and nothing else.
        slow = FakeTransport(len(b"x" * 200))
        await connect(nursery, server, slow)
        slow.stop_reading()
        for _ in range(300):
            await publish(hub, 1, [EVENT])
        await trio.sleep(5)
        assert server.connections == 0
        assert +server.counters.disconnected == {"slow_consumer": 1}
        assert hub.counters.delivered == server.counters.lost == 256

    async def test_cancelled_and_failed_connections_are_counted(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        server = open_server(hub)
        broken = FakeTransport()
        with capture_logs() as logs:
            await connect(nursery, server, broken)
            broken.fail(ZeroDivisionError())  # type: ignore[arg-type]
            await wait_all_tasks_blocked()
        assert [(log["event"], log.get("code")) for log in logs][1:] == [
            ("connection failed", None),
            ("disconnected", 1011),
        ]
        with trio.move_on_after(1):
            await serve_upgrade(server, FakeTransport())
        assert +server.counters.disconnected == {"internal_error": 1, "cancelled": 1}
