"""Refusals: a JSON error response, sent in full, within the grace."""

import json
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto import ConnectionType, WSConnection
from wsproto.events import RejectConnection, RejectData, Request

from ryze.errors import INVALID_TOKEN, UPGRADE_REQUIRED, ApiError, ErrorKind
from ryze.server.refusal import refusal_response, send_refusal
from tests.fakes import FakeTransport, PieceTransport

REFUSAL = ApiError(INVALID_TOKEN, headers={"X": "y"})
GRACE_SECONDS = 2


async def send(transport: FakeTransport) -> None:
    await send_refusal(transport, REFUSAL, GRACE_SECONDS)


@pytest.mark.parametrize("make", [FakeTransport, PieceTransport])
async def test_refusal_is_sent_in_full_and_waits_for_the_end_of_the_peer(
    nursery: trio.Nursery, autojump_clock: MockClock, make: Callable[[float], FakeTransport]
) -> None:
    transport = make(50)
    nursery.start_soon(send, transport)
    await wait_all_tasks_blocked()
    assert len(transport.taken) == 50
    transport.read()
    await wait_all_tasks_blocked()
    assert transport.taken == refusal_response(REFUSAL)
    assert transport.eof_sent
    assert not transport.closed
    transport.feed(b"more of a request")
    await wait_all_tasks_blocked()
    assert not transport.closed
    transport.feed_eof()
    await wait_all_tasks_blocked()
    assert transport.closed


async def test_transport_is_closed_after_the_grace(autojump_clock: MockClock) -> None:
    for transport in (FakeTransport(5), FakeTransport(), PieceTransport(5)):
        start = trio.current_time()
        await send(transport)
        assert trio.current_time() == start + GRACE_SECONDS
        assert transport.closed


async def test_lost_connection_is_ignored(autojump_clock: MockClock) -> None:
    transport = FakeTransport()
    transport.fail()
    start = trio.current_time()
    await send(transport)
    assert trio.current_time() == start
    assert transport.closed


async def test_cancelled_refusal_closes_the_transport(autojump_clock: MockClock) -> None:
    transport = FakeTransport(5)
    with trio.move_on_after(1):
        await send(transport)
    assert transport.closed


def test_refusal_is_json_and_ends_the_connection() -> None:
    client = WSConnection(ConnectionType.CLIENT)
    client.send(Request("ryze.test", "/ws/shop"))
    kind = ErrorKind(429, "Slow\u00e9", "slow")
    client.receive_data(refusal_response(ApiError(kind, headers={"Retry-After": "7"})))
    rejection, *body = client.events()
    assert isinstance(rejection, RejectConnection)
    text = b"".join(part.data for part in body if isinstance(part, RejectData))
    assert rejection.status_code == 429
    headers = dict(rejection.headers)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"retry-after"] == b"7"
    assert headers[b"connection"] == b"close"
    assert json.loads(text) == {"success": False, "error": {"message": "Slow\u00e9"}}


def test_426_names_the_protocol_to_upgrade_to() -> None:
    response = refusal_response(ApiError(UPGRADE_REQUIRED, headers={"Upgrade": "websocket"}))
    assert b"\r\nConnection: Upgrade, close\r\n" in response
    assert b"\r\nUpgrade: websocket\r\n" in response
