"""Any bytes at each place where bytes come in: a response or a close, never a crash.

The inputs of tests/corpus come first, then mutations of them.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import settings
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.errors import ApiError, InvalidEvent
from ryze.events.decoding import decode_event, decode_events
from ryze.events.event import EVENT_TYPES, instance_data
from ryze.http_head import RequestParser
from ryze.hub.hub import Hub
from ryze.websocket.handshake import accept_response, check_upgrade, negotiate
from tests.conformance.harness import running_server
from tests.corpus import corpus_inputs, fuzzed
from tests.fakes import FakeTransport, server_frames
from tests.hub.harness import EMPTY_HUB
from tests.websocket.harness import open_server, serve_upgrade, upgrade

HEADER_BYTES = 1000

# Allowed close codes for a peer that sends any bytes and then closes its sending side.
CLOSE_CODES = {1000, 1002, 1007, 1008, 1009}


# --- Handshakes ---


@settings(deadline=None, max_examples=300)
@fuzzed("handshake")
def test_any_request_head_is_accepted_refused_or_incomplete(data: bytes) -> None:
    """Without a socket; the result is the same in one piece and in several."""
    assert _parse_head(data, 10**6) == _parse_head(data, 7)


def _parse_head(data: bytes, step: int) -> tuple[bytes, str | None] | int | None:
    """Target and negotiated extension, status of the refusal, or None if it is incomplete."""
    parser = RequestParser(HEADER_BYTES)
    try:
        for start in range(0, len(data), step):
            request = parser.receive_data(data[start : start + step])
            if request is not None:
                check_upgrade(request)
                extension = negotiate(request)
                assert accept_response(request, extension, {}).startswith(b"HTTP/1.1 101 ")
                return request.target, extension
        assert len(data) <= HEADER_BYTES
    except ApiError as error:
        return error.status
    return None


@settings(deadline=None, max_examples=40)
@fuzzed("handshake")
def test_any_first_bytes_get_a_response_or_are_closed(data: bytes) -> None:
    """Through the dispatcher, over a socket; no error is logged."""

    async def main() -> None:
        async with running_server() as server:
            client = await server.open()
            assert isinstance(client.stream, trio.SocketStream)
            with suppress(trio.BrokenResourceError):
                await client.send(data)
                await client.stream.send_eof()
            response = (await client.rest()).removesuffix(b"<reset>")
            assert re.match(rb"HTTP/1\.1 (101|4\d\d|503) |\Z", response), response

    with capture_logs() as logs:
        trio.run(main)
    assert not [log for log in logs if log["log_level"] in ("error", "critical")]


# --- Frames ---


@settings(deadline=None, max_examples=150)
@fuzzed("subscriber")
def test_any_bytes_on_a_subscriber_connection(data: bytes) -> None:
    _check_frames("/ws/shop", data)


@settings(deadline=None, max_examples=150)
@fuzzed("producer")
def test_any_bytes_on_a_producer_connection(data: bytes) -> None:
    _check_frames("/ws/shop/publish", data)


def _check_frames(target: str, data: bytes) -> None:
    """With and without compression, in one piece and in several: it closes and leaves nothing."""
    for compression in (False, True):
        for step in (10**6, 3):
            with capture_logs() as logs:
                trio.run(_serve_connection, target, data, compression, step, clock=MockClock(0, 0))
            assert [log["event"] for log in logs] == ["connected", "disconnected"]


async def _serve_connection(target: str, data: bytes, compression: bool, step: int) -> None:
    hub = Hub("http://ryze.test")
    transport = FakeTransport()
    extensions = "permessage-deflate" if compression else ""
    request = upgrade(sec_websocket_extensions=extensions)
    request = type(request)(method="GET", target=target, headers=list(request.headers))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        async with trio.open_nursery() as connections:
            websockets = open_server(hub, compression=compression)
            connections.start_soon(serve_upgrade, websockets, transport, request)
            for start in range(0, len(data), step):
                transport.feed(data[start : start + step])
                await wait_all_tasks_blocked()
            transport.feed_eof()
        assert websockets.connections == 0
        assert hub.statistics() == EMPTY_HUB
        nursery.cancel_scope.cancel()
    assert transport.closed
    frames, rest = server_frames(transport.taken.partition(b"\r\n\r\n")[2])
    assert rest == b""
    closes = [frame.close_code for frame in frames if frame.opcode == 8]
    assert closes in ([], *([code] for code in CLOSE_CODES))
    assert not closes or frames[-1].opcode == 8


# --- Events ---


@settings(deadline=None, max_examples=400)
@fuzzed("event")
def test_any_body_is_an_event_or_an_invalid_event_error(data: bytes) -> None:
    for decode in _DECODERS:
        events: list[Any] = []
        with suppress(InvalidEvent):
            events = decode(data)
        for event in events:
            assert event.type in EVENT_TYPES
            assert event.data in data
            _check_envelope(event.envelope(instance_data("http://ryze.test", "shop", "t")), event)
            event.without_media()


_DECODERS: list[Callable[[bytes], list[Any]]] = [decode_events, lambda body: [decode_event(body)]]


def _check_envelope(envelope: bytes, event: Any) -> None:
    """Check that the envelope is UTF-8 and JSON, with the data unchanged."""
    envelope.decode()
    assert envelope.startswith(b'{"event":"%b","data":%b,' % (event.type.encode(), event.data))
    with suppress(RecursionError):
        assert list(json.loads(envelope)) == ["event", "data", "instanceData"]


# --- The corpus ---


@pytest.mark.parametrize("kind", ["handshake", "subscriber", "producer", "event"])
def test_corpus_inputs_are_unique(kind: str) -> None:
    inputs = list(corpus_inputs(kind).values())
    assert len(inputs) > 10
    assert len(set(inputs)) == len(inputs)
