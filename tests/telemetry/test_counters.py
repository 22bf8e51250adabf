"""What the heart counts, on the way of events and of connections."""

from collections import deque

import h11
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection

from ryze.errors import INVALID_TOKEN, NOT_ENABLED, ApiError
from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.records import DISABLED, WebsocketConfig
from ryze.websocket.encodings import PLAIN
from ryze.websocket.server import WebSocketServer
from tests.fakes import FakeTransport, make_instance
from tests.hub.operations import configure, publish
from tests.websocket.harness import EVENT, Peer, open_server, serve_upgrade, upgrade


def make_outbox(transport: FakeTransport, limits: OutboxLimits | None = None) -> Outbox:
    """Without a writer: what is pending stays so."""
    return Outbox(
        transport, limits or OutboxLimits(), PLAIN, start_writer=lambda: None, on_close=lambda: None
    )


class Clock:
    """Goes on by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def counted(hub: Hub) -> dict[str, int]:
    names = ("published", "nobody", "disabled", "filtered", "delivered")
    return {name: getattr(hub.counters, name) for name in names if getattr(hub.counters, name)}


class TestHub:
    def test_whom_nobody_gets_is_told_apart(self) -> None:
        hub = Hub("http://ryze.test")
        hub.publish(1, EVENT)
        with hub.subscribed(make_instance(config=None), make_outbox(FakeTransport())):
            hub.publish(1, EVENT)
            configure(hub, 1, WebsocketConfig(True, ("label.update",)))
            for _ in range(3):
                hub.publish(1, EVENT)
        assert counted(hub) == {"published": 5, "nobody": 1, "disabled": 1, "filtered": 3}

    async def test_the_flush_counts_once_for_each_client_and_takes_its_time(
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
        # The clock was looked at by the first event, at the beginning and at the end.
        assert hub.counters.flush_lag.total == hub.counters.flush_seconds.total == 1
        assert dict(hub.counters.flush_events.cumulative())[4] == 1
        assert hub.counters.flush_events.total == 3

    def test_a_lone_publishers_events_are_counted_the_same_way(self) -> None:
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
            "nobody": 2,
            "filtered": 4,
            "disabled": 1,
            "delivered": 2,
        }
        # It was no flush.
        assert hub.counters.flush_events.total == hub.counters.flush_seconds.total == 0

    def test_who_overflows_has_not_got_the_batch(self) -> None:
        hub = Hub("http://ryze.test")
        outbox = make_outbox(FakeTransport(0), OutboxLimits(messages=2))
        with hub.subscribed(make_instance(), outbox):
            for _ in range(3):
                hub.publish_now(1, deque([EVENT]))
        assert counted(hub) == {"published": 3, "delivered": 2}
        assert outbox.discarded == 2


async def connect(
    nursery: trio.Nursery,
    gateway: WebSocketServer,
    transport: FakeTransport,
    target: str = "/ws/shop",
) -> Peer:
    peer = Peer(transport)
    request = upgrade()
    request = h11.Request(method="GET", target=target, headers=request.headers)
    nursery.start_soon(serve_upgrade, gateway, transport, request)
    await wait_all_tasks_blocked()
    return peer


class TestGateway:
    async def test_connections_are_counted_by_role_and_by_their_end(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        gateway = open_server(hub)
        peer = await connect(nursery, gateway, FakeTransport())
        await connect(nursery, gateway, FakeTransport(), "/ws/shop/publish")
        gone = await connect(nursery, gateway, FakeTransport())
        assert gateway.counters.opened == gateway.connections_by_role()
        assert gateway.connections_by_role() == {"subscriber": 2, "publisher": 1}
        peer.send(CloseConnection(1000))
        gone.transport.fail()
        await wait_all_tasks_blocked()
        assert gateway.connections_by_role() == {"publisher": 1}
        assert gateway.counters.opened == {"subscriber": 2, "publisher": 1}
        assert +gateway.counters.disconnected == {"client_closed": 1, "connection_lost": 1}
        nursery.cancel_scope.cancel()

    async def test_what_was_pending_at_the_end_is_counted(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        gateway = open_server(hub)
        # Room for the 101 and nothing else.
        slow = FakeTransport(len(b"x" * 200))
        await connect(nursery, gateway, slow)
        slow.stop_reading()
        for _ in range(300):
            await publish(hub, 1, [EVENT])
        await trio.sleep(5)
        assert gateway.connections == 0
        assert +gateway.counters.disconnected == {"slow_consumer": 1}
        assert hub.counters.delivered == gateway.counters.lost == 256

    async def test_who_is_cut_off_and_who_meets_a_bug_are_counted_too(
        self, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        gateway = open_server(hub)
        broken = FakeTransport()
        with capture_logs() as logs:
            await connect(nursery, gateway, broken)
            broken.fail(ZeroDivisionError())  # type: ignore[arg-type]
            await wait_all_tasks_blocked()
        assert [(log["event"], log.get("code")) for log in logs][1:] == [
            ("connection failed", None),
            ("disconnected", 1011),
        ]
        with trio.move_on_after(1):
            await serve_upgrade(gateway, FakeTransport())
        assert +gateway.counters.disconnected == {"internal_error": 1, "cancelled": 1}

    async def test_a_refusal_is_counted_by_its_reason_without_names(
        self, hub: Hub, autojump_clock: MockClock
    ) -> None:
        gateway = open_server(hub)
        for name in ("a", "b"):
            refusal = ApiError(NOT_ENABLED.for_instance(name))
            await gateway.refuse(FakeTransport(), refusal, "192.0.2.1")
        await gateway.refuse(FakeTransport(), ApiError(INVALID_TOKEN), "192.0.2.1")
        assert gateway.counters.refused == {(400, "not_enabled"): 2, (401, "invalid_token"): 1}
