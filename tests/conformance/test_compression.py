"""RFC 7692, permessage-deflate: negotiation, messages, limits. Sections are those of RFC 7692."""

import zlib

import pytest

from ryze.events.event import Event
from tests.clients import UPGRADE, request_bytes
from tests.conformance.harness import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    PRODUCER,
    SUBSCRIBER,
    TEXT,
    Row,
    close,
    closed,
    event,
    ping,
    pong,
    row_id,
    running_server,
)
from tests.fakes import client_frame, make_instance
from tests.hub.harness import publish

LIMIT = 64 * 1024
RSV1 = 4
PROTOCOL_ERROR, INVALID_UTF8, TOO_BIG = map(closed, (1002, 1007, 1009))

OFFER = "permessage-deflate"
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
ANY_WINDOW = "permessage-deflate; client_max_window_bits"
SMALL_WINDOW = "permessage-deflate; server_max_window_bits=10"

# Clause, offer, and the extension in the response; None: no such header.
NEGOTIATIONS = [
    ("5", "", None),
    ("7", OFFER, AGREED),
    ("7.1.1.1", f"{OFFER}; server_no_context_takeover", AGREED),
    ("7.1.1.2", f"{OFFER}; client_no_context_takeover", AGREED),
    ("7.1.1.1", f"{OFFER}; server_no_context_takeover=1", None),
    ("7.1.1.2", f"{OFFER}; client_no_context_takeover=1", None),
    ("7.1.2.1", f"{OFFER}; server_max_window_bits=15", f"{AGREED}; server_max_window_bits=15"),
    ("7.1.2.1", f"{OFFER}; server_max_window_bits", None),
    *(("7.1.2.1", f"{OFFER}; server_max_window_bits={n}", None) for n in (0, 7, 8, 14, 16)),
    ("7.1.2.1", f"{OFFER}; server_max_window_bits=015", None),
    ("7.1.2.2", ANY_WINDOW, AGREED),
    *(("7.1.2.2", f"{ANY_WINDOW}={n}", AGREED) for n in (8, 9, 15)),
    *(("7.1.2.2", f"{ANY_WINDOW}={n}", None) for n in (0, 7, 16, "08", "x")),
    ("7.1", f"{OFFER}; unknown", None),
    ("7.1", f"{ANY_WINDOW}; client_max_window_bits", None),
    ("7.1", f"{OFFER}; server_no_context_takeover; server_no_context_takeover", None),
    ("5.1", f"{SMALL_WINDOW}, {OFFER}", AGREED),
    ("5.1", f"{OFFER}; unknown, {SMALL_WINDOW}, {ANY_WINDOW}", AGREED),
    ("5", f"x-other; a=b, {OFFER}", AGREED),
    ("5", "x-webkit-deflate-frame", None),
]


@pytest.mark.parametrize(("clause", "offer", "agreed"), NEGOTIATIONS)
@pytest.mark.parametrize("compression", [True, False])
async def test_negotiation(clause: str, offer: str, agreed: str | None, compression: bool) -> None:
    async with running_server(compression=compression) as server:
        peer = await server.connect(SUBSCRIBER, offer)
        named = peer.response.headers.get("sec-websocket-extensions")
        assert named == (agreed if compression else None), clause
        # Producer connections support no extensions.
        peer = await server.connect(PRODUCER, offer)
        assert "sec-websocket-extensions" not in peer.response.headers


@pytest.mark.parametrize("compression", [True, False])
@pytest.mark.parametrize("offer", ["permessage-deflate;", ";", "a=b", 'a; b="', "a b"])
async def test_malformed_extension_list_is_refused(offer: str, compression: bool) -> None:
    """RFC 6455, section 9.1."""
    async with running_server(compression=compression) as server:
        client = await server.open()
        headers = {**UPGRADE, "Sec-WebSocket-Extensions": offer}
        await client.send(request_bytes("GET", SUBSCRIBER, headers))
        assert (await client.read_response()).error == (400, "Invalid WebSocket handshake")


def deflated(payload: bytes, *, level: int = -1, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Compress as section 7.2.1 says, with zlib."""
    compressor = zlib.compressobj(level, wbits=-15, strategy=strategy)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(b"\x00\x00\xff\xff")


def text(data: bytes, *, fin: bool = True) -> bytes:
    return client_frame(TEXT, data, fin=fin, rsv=RSV1)


def binary(data: bytes) -> bytes:
    return client_frame(BINARY, data, rsv=RSV1)


def more(data: bytes, *, fin: bool = True) -> bytes:
    return client_frame(CONTINUATION, data, fin=fin)


def in_pieces(data: bytes, size: int, between: bytes = b"") -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    last = len(pieces) - 1
    frames = [
        text(pieces[0], fin=False),
        *(more(p, fin=i == last) for i, p in enumerate(pieces) if i),
    ]
    return between.join(frames)


HELLO = deflated(b"Hello")
LARGEST = deflated(b"x" * LIMIT)
ONE_BYTE_MORE = deflated(b"x" * (LIMIT + 1))
# Zeros; the server must stop inflating at the limit of a message.
BOMB = deflated(bytes(10**7))
STORED = bytes.fromhex("00ff0000ff") + b"x" * 255
TWO_BLOCKS = bytes.fromhex("f24805000000ffffcac9c90700")
# Section 7.2.3.2: "Hello" as a back-reference into the message before.
BACK_REFERENCE = bytes.fromhex("f200110000")

FRAMES = [
    # The examples of section 7.2.3
    Row("7.2.3.1", "Hello", text(bytes.fromhex("f248cdc9c90700"))),
    Row("7.2.3.1", "Hello in two fragments", in_pieces(bytes.fromhex("f248cdc9c90700"), 3)),
    Row("7.2.3.3", "a block without compression", text(bytes.fromhex("000500faff48656c6c6f00"))),
    Row("7.2.3.4", "a block with BFINAL", text(bytes.fromhex("f348cdc9c9070000"))),
    Row("7.2.3.5", "two blocks", text(TWO_BLOCKS)),
    Row("7.2.3.6", "an empty message", text(b"\x00")),
    Row("7.2.1", "blocks after one with BFINAL", text(b"\x03\x00" * 99 + HELLO)),
    Row("7.2.1", "fixed codes", text(deflated(b"Hello" * 99, strategy=zlib.Z_FIXED))),
    Row("7.2.1", "a whole stored block", text(STORED + b"\x00")),
    Row("7.2.1", "stored", text(deflated(b"Hello" * 99, level=0))),
    Row("7.2.1", "binary", binary(deflated(b"\xff" * 99))),
    Row("6", "one byte per fragment", in_pieces(HELLO, 1)),
    Row("6", "an uncompressed message", client_frame(TEXT, b"Hello")),
    Row(
        "6",
        "compressed and uncompressed in turn",
        text(HELLO) + client_frame(TEXT, b"Hello") + text(HELLO),
    ),
    Row("6.2", "a ping between fragments", in_pieces(HELLO, 2, ping(b"1")), (pong(b"1"),) * 3),
    Row("6.2", "a pong between fragments", in_pieces(HELLO, 2, client_frame(PONG))),
    Row("6.1", "a close between fragments", in_pieces(HELLO, 4, close(1000)), (closed(1000),)),
    # Violations
    Row(
        "6.1",
        "RSV1 on a continuation",
        text(HELLO, fin=False) + client_frame(CONTINUATION, rsv=RSV1),
        (PROTOCOL_ERROR,),
    ),
    Row("6.1", "RSV1 on a ping", client_frame(PING, rsv=RSV1), (PROTOCOL_ERROR,)),
    Row("6.1", "RSV1 on a pong", client_frame(PONG, rsv=RSV1), (PROTOCOL_ERROR,)),
    Row("6.1", "RSV1 on a close", client_frame(8, rsv=RSV1), (PROTOCOL_ERROR,)),
    *(
        Row("6", f"RSV {rsv:03b}", client_frame(TEXT, HELLO, rsv=rsv), (PROTOCOL_ERROR,))
        for rsv in (1, 2, 3, 5, 6, 7)
    ),
    Row("7.2.2", "invalid deflate data", text(b"\xff" * 9), (PROTOCOL_ERROR,)),
    Row("7.2.2", "no data", text(b""), (PROTOCOL_ERROR,)),
    Row("7.2.2", "truncated", text(LARGEST[:-9]), (PROTOCOL_ERROR,)),
    Row("7.2.2", "truncated, stored", binary(STORED[:-20]), (PROTOCOL_ERROR,)),
    Row(
        "7.2.3.2",
        "a reference to the last message",
        text(HELLO) + text(BACK_REFERENCE),
        (PROTOCOL_ERROR,),
    ),
    # Limits and UTF-8 apply to the inflated message
    Row("RFC 6455, 8.1", "not UTF-8", text(deflated(b"Hello\xff")), (INVALID_UTF8,)),
    Row("RFC 6455, 8.1", "ends inside a character", text(deflated(b"\xe2\x82")), (INVALID_UTF8,)),
    Row("RFC 6455, 8.1", "not UTF-8, binary", binary(deflated(b"\xff"))),
    Row("RFC 6455, 10.4", "the largest message", text(LARGEST) * 3),
    Row("RFC 6455, 10.4", "one byte more", text(ONE_BYTE_MORE), (TOO_BIG,)),
    Row("RFC 6455, 10.4", "the largest message in fragments", in_pieces(LARGEST, 7)),
    Row("RFC 6455, 10.4", "one byte more in fragments", in_pieces(ONE_BYTE_MORE, 7), (TOO_BIG,)),
    Row("RFC 6455, 10.4", "a compression bomb", text(BOMB), (TOO_BIG,)),
    Row("RFC 6455, 10.4", "a compression bomb in fragments", in_pieces(BOMB, 1000), (TOO_BIG,)),
    Row(
        "6.1",
        "a second fragment without compression",
        text(HELLO, fin=False) + more(b"x"),
        (PROTOCOL_ERROR,),
    ),
]


@pytest.mark.parametrize("row", FRAMES, ids=row_id)
async def test_compressed_message(row: Row) -> None:
    async with running_server(compression=True) as server:
        peer = await server.connect(SUBSCRIBER, OFFER)
        await peer.check(row)


@pytest.mark.parametrize(("compression", "target"), [(False, SUBSCRIBER), (True, PRODUCER)])
async def test_rsv1_without_negotiated_compression_is_a_protocol_error(
    compression: bool, target: str
) -> None:
    async with running_server(compression=compression) as server:
        peer = await server.connect(target, OFFER)
        await peer.check(Row("6", "RSV1", text(deflated(event())), (PROTOCOL_ERROR,)))


async def test_events_are_compressed_without_context_and_control_frames_not_at_all() -> None:
    """Sections 6 and 7.2.1: RSV1 set, the tail removed, no context takeover."""
    async with running_server(compression=True) as server:
        peer = await server.connect(SUBSCRIBER, OFFER)
        plain = await server.connect(SUBSCRIBER)
        for n in range(3):
            data = b'{"n":%d,"text":"%b"}' % (n, b"Hello" * 100)
            await publish(server.hub, make_instance().id, [Event("call.update", data)])
        await peer.send(ping(b"1"))
        await peer.frames(4)
        await plain.frames(3)
        *events, pong_frame = peer.raw
        assert pong_frame.raw == b"\x8a\x011"
        assert [frame.raw[0] for frame in events] == [0xC1] * 3
        inflated = [
            zlib.decompress(frame.payload + b"\x00\x00\xff\xff\x03\x00", wbits=-15)
            for frame in events
        ]
        assert inflated == [frame.payload for frame in plain.raw]
        assert [frame.raw[0] for frame in plain.raw] == [0x81] * 3
