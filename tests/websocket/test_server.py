"""All WebSockets together: who is admitted, who is refused, and how everybody is seen off."""

import gc
import json
import weakref
from collections.abc import Callable

import h11
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.extensions import PerMessageDeflate

from ryze.changes import AccountTokenRevoked
from ryze.errors import INVALID_TOKEN, ApiError
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.publishing.publisher import Publisher
from ryze.websocket.encodings import PLAIN
from ryze.websocket.handshake import refusal_response
from ryze.websocket.server import Admission, WebSocketLimits, WebSocketServer
from tests.fakes import (
    FakeTransport,
    PieceTransport,
    call_at_next_checkpoint,
    client_frame,
    make_instance,
    server_frames,
)
from tests.hub.operations import publish
from tests.websocket.harness import (
    EVENT,
    NOBODY,
    TOKEN_KEY,
    Peer,
    open_server,
    serve_upgrade,
    upgrade,
)


async def connect(
    nursery: trio.Nursery,
    gateway: WebSocketServer,
    transport: FakeTransport | None = None,
    *,
    request: h11.Request | None = None,
    peer: Peer | None = None,
) -> Peer:
    peer = peer or Peer(transport or FakeTransport())

    async def serve() -> None:
        await serve_upgrade(gateway, peer.transport, request)
        peer.ended.set()

    nursery.start_soon(serve)
    await wait_all_tasks_blocked()
    return peer


async def test_who_is_admitted_gets_101_with_the_headers_and_then_events(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub)
    peer = await connect(nursery, gateway)
    assert peer.head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nX-Seen: 192.0.2.1" in peer.head
    assert gateway.connections == 1
    assert repr(gateway) == "<WebSocketServer 1 connections>"
    assert await publish(hub, 1, [EVENT]) == 1
    assert len(await peer.texts()) == 1


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_memory_of_a_connection_is_given_back_at_once(
    says_goodbye: bool, hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """No cycle is left that would wait for the garbage collector, which runs rarely here."""
    gateway = open_server(hub)
    peer = await connect(nursery, gateway)
    await publish(hub, 1, [EVENT])
    if says_goodbye:
        peer.send(CloseConnection(1000))
    else:
        peer.transport.feed_eof()
    transport = weakref.ref(peer.transport)
    gc.disable()
    try:
        del peer
        await wait_all_tasks_blocked()
        assert gateway.connections == 0
        assert transport() is None
    finally:
        gc.enable()


async def test_life_and_death_are_logged(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        peer = await connect(nursery, open_server(hub))
        peer.send(CloseConnection(1000))
        await wait_all_tasks_blocked()
    assert logs == [
        {
            "event": "connected",
            "log_level": "info",
            "connection": "ws-1",
            "client": "192.0.2.1",
            "instance": "shop",
            "instance_id": 1,
            "role": "subscriber",
        },
        {
            "event": "disconnected",
            "log_level": "info",
            "connection": "ws-1",
            "client": "192.0.2.1",
            "instance": "shop",
            "instance_id": 1,
            "role": "subscriber",
            "code": 1000,
            "reason": "",
            "lost": 0,
        },
    ]


@pytest.mark.parametrize("on", [False, True])
async def test_compression_is_agreed_on_only_where_it_is_on(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, on: bool
) -> None:
    request = upgrade(sec_websocket_extensions="permessage-deflate; client_max_window_bits")
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate; server_no_context_takeover")
    peer = Peer(FakeTransport(), [extension] if on else [])
    await connect(nursery, open_server(hub, compression=on), request=request, peer=peer)
    assert (b"permessage-deflate" in peer.head) == on
    await publish(hub, 1, [EVENT, EVENT])
    first, second = await peer.texts()
    assert first == second
    assert (b"instanceData" in peer.transport.taken) != on


# --- Refusals ---


def refusing(error: Exception) -> Callable[[h11.Request, str], Admission]:
    def admit(request: h11.Request, address: str) -> Admission:
        raise error

    return admit


@pytest.mark.parametrize("make", [FakeTransport, PieceTransport])
async def test_a_refusal_is_answered_in_full_and_waits_for_the_peers_end(
    hub: Hub,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    make: Callable[[float], FakeTransport],
) -> None:
    error = ApiError(INVALID_TOKEN, headers={"X": "y"})
    gateway = WebSocketServer(hub, Publisher(hub), refusing(error), WebSocketLimits())
    peer = await connect(nursery, gateway, make(50))
    assert len(peer.transport.taken) == 50
    peer.transport.read()
    await wait_all_tasks_blocked()
    assert peer.transport.taken == refusal_response(error)
    assert peer.transport.eof_sent
    assert not peer.transport.closed
    peer.transport.feed(b"more of a request")
    peer.transport.feed_eof()
    await peer.ended.wait()
    assert peer.transport.closed
    assert gateway.connections == 0


async def test_nobody_waits_longer_than_the_grace_for_a_refused_peer(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = WebSocketServer(
        hub, Publisher(hub), refusing(ApiError(INVALID_TOKEN)), WebSocketLimits()
    )
    for transport in (FakeTransport(5), FakeTransport(), PieceTransport(5)):
        start = trio.current_time()
        peer = await connect(nursery, gateway, transport)
        await peer.ended.wait()
        assert trio.current_time() == start + 2
        assert transport.closed


async def test_a_refused_peer_that_is_gone_is_nobodys_problem(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = WebSocketServer(
        hub, Publisher(hub), refusing(ApiError(INVALID_TOKEN)), WebSocketLimits()
    )
    transport = FakeTransport()
    transport.fail()
    peer = await connect(nursery, gateway, transport)
    assert peer.ended.is_set()


async def test_a_bug_in_the_admission_is_a_500_and_is_logged(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = WebSocketServer(hub, Publisher(hub), refusing(ZeroDivisionError()), WebSocketLimits())
    with capture_logs() as logs:
        peer = await connect(nursery, gateway)
        await peer.ended.wait()
    assert peer.transport.taken.startswith(b"HTTP/1.1 500 ")
    assert json.loads(peer.wire)["success"] is False
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("error", "request failed"),
        ("info", "refused"),
    ]
    assert peer.transport.closed


async def test_a_cancelled_refusal_closes_the_transport(
    hub: Hub, autojump_clock: MockClock
) -> None:
    gateway = WebSocketServer(
        hub, Publisher(hub), refusing(ApiError(INVALID_TOKEN)), WebSocketLimits()
    )
    transport = FakeTransport(5)
    with trio.move_on_after(1):
        await serve_upgrade(gateway, transport)
    assert transport.closed


async def test_the_cap_of_connections_counts_those_that_are_closing(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub, WebSocketLimits(connections=2))
    first, _ = await connect(nursery, gateway), await connect(nursery, gateway)
    third = await connect(nursery, gateway)
    assert third.head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(third.wire)["error"] == {"message": "Too many connections"}
    assert b"\r\nX-Seen: 192.0.2.1" in third.head
    hub.outboxes()[0].close_after_bug()
    await first.ended.wait()
    fourth = await connect(nursery, gateway)
    assert fourth.head.startswith(b"HTTP/1.1 101 ")


async def test_the_cap_of_an_instance(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub, WebSocketLimits(connections_per_instance=1))
    first, second = await connect(nursery, gateway), await connect(nursery, gateway)
    assert second.head.startswith(b"HTTP/1.1 503 ")
    first.send(CloseConnection(1000))
    await first.ended.wait()
    assert (await connect(nursery, gateway)).head.startswith(b"HTTP/1.1 101 ")


async def test_publishers_count_against_the_cap_of_their_instance(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub, WebSocketLimits(connections_per_instance=1))
    publisher = Outbox(
        FakeTransport(), OutboxLimits(), PLAIN, start_writer=lambda: None, on_close=lambda: None
    )
    with hub.producing(make_instance(), publisher):
        assert (await connect(nursery, gateway)).head.startswith(b"HTTP/1.1 503 ")
    assert (await connect(nursery, gateway)).head.startswith(b"HTTP/1.1 101 ")


# --- Revocation ---


@pytest.mark.parametrize("role", ["", "/publish"])
async def test_who_came_with_a_token_goes_with_it(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, role: str
) -> None:
    request = upgrade()
    request = h11.Request(method="GET", target=f"/ws/shop{role}", headers=list(request.headers))
    peer = await connect(nursery, open_server(hub), request=request)
    hub.follow(AccountTokenRevoked("another"))
    assert [each for each in await peer.settled() if isinstance(each, CloseConnection)] == []
    hub.follow(AccountTokenRevoked(TOKEN_KEY))
    assert await peer.close_code() == 4501


@pytest.mark.parametrize("publishes", [False, True])
async def test_a_token_that_is_revoked_right_behind_the_admission_ends_the_connection(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock, publishes: bool
) -> None:
    """There is no moment after the checks at which the hub does not know the connection."""

    def admit(request: h11.Request, address: str) -> Admission:
        call_at_next_checkpoint(lambda: hub.follow(AccountTokenRevoked(TOKEN_KEY)))
        return Admission(make_instance(), TOKEN_KEY, {}, publishes)

    peer = await connect(nursery, WebSocketServer(hub, Publisher(hub), admit, WebSocketLimits()))
    assert peer.head.startswith(b"HTTP/1.1 101 ")
    assert await peer.close_code() == 4501


# --- Drain ---


async def test_a_drain_sends_everybody_away_one_after_the_other(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub)
    peers = [await connect(nursery, gateway) for _ in range(20)]
    for _ in range(3):
        hub.publish(1, EVENT)
    start = trio.current_time()
    drained = trio.Event()

    async def drain() -> None:
        await gateway.drain(start + 10)
        drained.set()

    nursery.start_soon(drain)
    codes: list[float] = []
    while len(codes) < 20:
        await wait_all_tasks_blocked()
        for peer in peers:
            for event in peer.receive():
                if isinstance(event, CloseConnection):
                    assert event.code == 1012
                    codes.append(trio.current_time() - start)
                    peer.send(event.response())
                else:
                    # The first ping of a client comes at a random moment.
                    assert isinstance(event, TextMessage | Ping)
        await trio.sleep(0.001)
    assert codes[-1] - codes[0] == pytest.approx(0.005 * 19, abs=0.003)
    await wait_all_tasks_blocked()
    await drained.wait()
    assert trio.current_time() < start + 0.2
    assert gateway.connections == 0
    assert gateway.is_draining
    assert repr(gateway) == "<WebSocketServer 0 connections, draining>"
    assert all(len([f for f in server_frames(p.wire)[0] if f.opcode == 1]) == 3 for p in peers)
    late = await connect(nursery, gateway)
    assert late.head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(late.wire)["error"] == {"message": "Server is shutting down"}


async def test_a_drain_of_very_many_is_done_in_half_of_the_time(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub)
    for _ in range(300):
        transport = FakeTransport()
        transport.feed_eof = lambda: None  # type: ignore[method-assign]
        nursery.start_soon(serve_upgrade, gateway, transport)
    await wait_all_tasks_blocked()
    start = trio.current_time()
    with trio.move_on_at(start + 0.5):
        await gateway.drain(start + 1)
    assert [o for o in hub.outboxes() if o.disconnect is None] == []


async def test_a_drain_that_is_slowed_down_makes_its_pauses_shorter(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    class Slow(FakeTransport):
        def send_nowait(self, data: bytes | memoryview) -> int:
            # So long does it take on this machine.
            autojump_clock.jump(0.004)
            return super().send_nowait(data)

    gateway = open_server(hub)
    for _ in range(300):
        nursery.start_soon(serve_upgrade, gateway, Slow())
    await wait_all_tasks_blocked()
    start = trio.current_time()
    with trio.move_on_at(start + 1.6):
        # Half of the time. A pause of 5 ms after each would make it 2.7 s.
        await gateway.drain(start + 3)
    assert [o for o in hub.outboxes() if o.disconnect is None] == []


async def test_a_drain_sends_publishers_away_before_anybody_else(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub)
    peers = [await connect(nursery, gateway) for _ in range(3)]
    request = upgrade()
    publish = h11.Request(method="GET", target="/ws/shop/publish", headers=list(request.headers))
    publisher = await connect(nursery, gateway, request=publish)
    idle = await connect(nursery, gateway, request=publish)
    peers += [await connect(nursery, gateway) for _ in range(3)]
    # So much that it has to wait for room; all of it has come before the drain.
    event = client_frame(1, b'{"event":"call.update","data":{}}')
    publisher.transport.receive_bytes = 300 * len(event)
    publisher.transport.feed(event * 300)
    while not peers[0].wire:
        await trio.lowlevel.checkpoint()
    assert len(peers[0].receive()) < 300
    nursery.start_soon(gateway.drain, trio.current_time() + 10)
    await wait_all_tasks_blocked()
    # Both of them, while the first client has just been told.
    closed = [p for p in (*peers, publisher, idle) if p.wire.endswith(b"restarting")]
    assert closed[-2:] == [publisher, idle]
    assert len(closed) == 3
    publisher.transport.feed(event)
    await publisher.ended.wait()
    await trio.sleep(0.1)
    for peer in peers:
        frames = [frame for frame in server_frames(peer.wire)[0] if frame.opcode in (1, 8)]
        assert [frame.opcode for frame in frames] == [1] * 300 + [8]
    nursery.cancel_scope.cancel()


async def test_a_drain_waits_for_those_who_read_until_the_deadline(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub)
    slow = await connect(nursery, gateway, FakeTransport(170))
    await publish(hub, 1, [EVENT] * 10)
    start = trio.current_time()
    nursery.start_soon(gateway.drain, start + 9)
    for _ in range(85):
        await trio.sleep(0.1)
        slow.transport.read(20)
    await slow.ended.wait()
    assert trio.current_time() == pytest.approx(start + 9)
    frames, _ = server_frames(slow.wire)
    assert [frame.opcode for frame in frames] == [1] * 10 + [8]
    assert frames[-1].close_code == 1012
    assert hub.statistics() == NOBODY


async def test_a_drain_does_not_wait_for_publishers_that_never_pause(
    hub: Hub, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    gateway = open_server(hub)
    peer = await connect(nursery, gateway)

    async def publish_for_ever() -> None:
        while True:
            await publish(hub, 1, [EVENT])
            await trio.lowlevel.checkpoint()

    for _ in range(30):
        nursery.start_soon(publish_for_ever)
    with trio.fail_after(5):
        nursery.start_soon(gateway.drain, trio.current_time() + 4)
        while peer.transport.taken[-14:] != b"\x88\x0c\x03\xf4restarting":
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            autojump_clock.jump(0.01)
    nursery.cancel_scope.cancel()


async def test_a_drain_of_nobody_returns_at_once(hub: Hub, autojump_clock: MockClock) -> None:
    start = trio.current_time()
    await open_server(hub).drain(start - 1)
    assert trio.current_time() == start
