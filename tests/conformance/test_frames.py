"""RFC 6455, sections 5 and 8: frames of every shape, on subscriber and producer connections.

Where the two differ it is by contract: a producer's messages must be events, and an invalid one,
for its UTF-8 or anything else, is closed with 1008 and the number of the event.
"""

import pytest

from tests.conformance.harness import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    PRODUCER,
    SUBSCRIBER,
    TEXT,
    Row,
    closed,
    event,
    ping,
    pong,
    row_id,
    running_server,
)
from tests.fakes import client_frame

OPCODES = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
NAMES = dict(zip(OPCODES, ("continuation", "text", "binary", "close", "ping", "pong"), strict=True))
CONTROLS = (CLOSE, PING, PONG)

# The default message limits.
SUBSCRIBER_BYTES, PRODUCER_BYTES = 64 * 1024, 32 * 1024 * 1024


def text(payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    return client_frame(TEXT, payload, fin=fin, rsv=rsv)


def more(payload: bytes = b"", *, fin: bool = False) -> bytes:
    return client_frame(CONTINUATION, payload, fin=fin)


def in_pieces(payload: bytes, size: int, between: bytes = b"") -> bytes:
    """A text message in fragments of `size` bytes, with `between` after all but the last."""
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    frames = [text(pieces[0], fin=False), *map(more, pieces[1:-1]), more(pieces[-1], fin=True)]
    return between.join(frames)


def frame_header(first: int, length: bytes) -> bytes:
    """A frame header with this length field, and a mask of zeros."""
    return bytes([first]) + length + bytes(4)


EVENT = event(60)
PROTOCOL_ERROR, INVALID_UTF8, INVALID_EVENT, TOO_BIG = map(closed, (1002, 1007, 1008, 1009))

# The same on both kinds of connection.
BOTH = [
    *(Row("5.2", f"{n} bytes of text", text(event(n)), events=1) for n in (125, 126, 127)),
    *(Row("5.2", f"{n} bytes of text", text(event(n)), events=1) for n in (65535, 65536)),
    Row("5.2", "125 bytes in the 16-bit form", b"\x81\xfe\x00\x7d", (PROTOCOL_ERROR,)),
    Row("5.2", "0 bytes in the 16-bit form", b"\x81\xfe\x00\x00", (PROTOCOL_ERROR,)),
    Row(
        "5.2",
        "65535 bytes in the 64-bit form",
        b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff",
        (PROTOCOL_ERROR,),
    ),
    Row("5.2", "0 bytes in the 64-bit form", b"\x81\xff" + bytes(8), (PROTOCOL_ERROR,)),
    Row("5.2", "a negative length", b"\x82\xff\x80" + bytes(7), (PROTOCOL_ERROR,)),
    Row("10.4", "the largest 64-bit length", b"\x82\xff\x7f" + b"\xff" * 7, (TOO_BIG,)),
    # Masking
    *(
        Row("5.1", f"a {NAMES[op]} frame without mask", bytes([0x80 | op, 0]), (PROTOCOL_ERROR,))
        for op in OPCODES
        if op != CONTINUATION
    ),
    Row("5.1", "text without mask", b"\x81\x3c" + EVENT, (PROTOCOL_ERROR,)),
    Row("5.3", "a mask of zeros", frame_header(0x81, b"\xbc") + EVENT, events=1),
    # Reserved bits and opcodes
    *(
        Row(
            "5.2",
            f"RSV {rsv:03b} on a {NAMES[op]} frame",
            client_frame(op, rsv=rsv),
            (PROTOCOL_ERROR,),
        )
        for op in OPCODES
        if op != CONTINUATION
        for rsv in range(1, 8)
    ),
    Row(
        "5.2",
        "RSV 100 on a continuation",
        text(b"", fin=False) + client_frame(CONTINUATION, rsv=4),
        (PROTOCOL_ERROR,),
    ),
    *(
        Row("5.2", f"opcode {op}", client_frame(op), (PROTOCOL_ERROR,))
        for op in (*range(3, 8), *range(11, 16))
    ),
    # Fragmentation
    Row("5.4", "two fragments", in_pieces(EVENT, 30), events=1),
    Row("5.4", "one byte per fragment", in_pieces(EVENT, 1), events=1),
    Row("5.4", "empty fragments", text(b"", fin=False) + more() * 9 + more(EVENT, fin=True), (), 1),
    Row("5.4", "an empty last fragment", text(EVENT, fin=False) + more(fin=True), events=1),
    Row("5.4", "two messages in fragments", in_pieces(EVENT, 30) * 2, events=2),
    Row("5.4", "a ping between fragments", in_pieces(EVENT, 30, ping(b"1")), (pong(b"1"),), 1),
    Row(
        "5.4", "pings between all fragments", in_pieces(EVENT, 20, ping(b"2")), (pong(b"2"),) * 2, 1
    ),
    Row(
        "5.4", "a pong between fragments", in_pieces(EVENT, 30, client_frame(PONG, b"?")), events=1
    ),
    Row(
        "5.4",
        "a close between fragments",
        in_pieces(EVENT, 30, client_frame(CLOSE)),
        (closed(1000),),
        0,
    ),
    Row("5.4", "a continuation without a first fragment", more(fin=True), (PROTOCOL_ERROR,)),
    Row("5.4", "an unfinished continuation without a first fragment", more(), (PROTOCOL_ERROR,)),
    Row(
        "5.4",
        "a continuation after the last fragment",
        in_pieces(EVENT, 30) + more(),
        (PROTOCOL_ERROR,),
        1,
    ),
    Row(
        "5.4",
        "a text frame inside a fragmented text",
        text(EVENT, fin=False) + text(EVENT),
        (PROTOCOL_ERROR,),
        0,
    ),
    Row(
        "5.4",
        "a binary frame inside a fragmented text",
        text(EVENT, fin=False) + client_frame(BINARY),
        (PROTOCOL_ERROR,),
        0,
    ),
    *(
        Row("5.5", f"a {NAMES[op]} in fragments", client_frame(op, fin=False), (PROTOCOL_ERROR,))
        for op in CONTROLS
    ),
    # Control frames
    *(Row("5.5.2", f"a ping of {n} bytes", ping(bytes(n)), (pong(bytes(n)),)) for n in (0, 1, 124)),
    Row("5.5.3", "a ping of 125 bytes", ping(b"\xff" * 125), (pong(b"\xff" * 125),)),
    Row(
        "5.5.2",
        "ten pings",
        b"".join(ping(b"%d" % n) for n in range(10)),
        tuple(pong(b"%d" % n) for n in range(10)),
    ),
    *(
        Row("5.5", f"a {NAMES[op]} of {n} bytes", client_frame(op, bytes(n)), (PROTOCOL_ERROR,))
        for op in CONTROLS
        for n in (126, 65536)
    ),
    Row("5.5.3", "an unsolicited pong", client_frame(PONG, b"unasked")),
    Row("5.5.3", "a pong of 125 bytes", client_frame(PONG, bytes(125))),
    # Bytes that are not WebSocket frames
    Row("5.2", "HTTP", b"GET / HTTP/1.1\r\n\r\n", (PROTOCOL_ERROR,)),
    Row("5.2", "zeros", bytes(100), (PROTOCOL_ERROR,)),
]

VALID_TEXTS = {
    "NUL": b"\x00",
    "U+007F": b"\x7f",
    "U+0080": b"\xc2\x80",
    "U+07FF": b"\xdf\xbf",
    "U+0800": b"\xe0\xa0\x80",
    "U+D7FF": b"\xed\x9f\xbf",
    "U+E000": b"\xee\x80\x80",
    "a byte order mark": b"\xef\xbb\xbf",
    "U+FFFF, a noncharacter": b"\xef\xbf\xbf",
    "U+10000": b"\xf0\x90\x80\x80",
    "U+10FFFF": b"\xf4\x8f\xbf\xbf",
    "Greek": "\u03ba\u1f79\u03c3\u03bc\u03b5".encode(),
}
# Each ends with the first byte that makes it invalid.
INVALID_TEXTS = {
    "a lone continuation byte": b"\x80",
    "an overlong slash": b"\xc0",
    "an overlong DEL": b"\xc1",
    "an overlong U+07FF": b"\xe0\x9f",
    "an overlong U+FFFF": b"\xf0\x8f",
    "a surrogate": b"\xed\xa0",
    "above U+10FFFF": b"\xf4\x90",
    "five bytes": b"\xf8",
    "FE": b"\xfe",
    "FF": b"\xff",
    "a truncated two-byte sequence": b"\xc2a",
    "a truncated three-byte sequence": b"\xe2\x82a",
    "a truncated four-byte sequence": b"\xf0\x90\x80a",
    "after valid text": "\u03ba\u1f79".encode() + b"\xed\xa0",
}


def frame_beginning(payload: bytes, opcode: int = TEXT) -> bytes:
    """The beginning of a frame of 100 bytes."""
    return client_frame(opcode, payload + bytes(100 - len(payload)))[: 6 + len(payload)]


SUBSCRIBER_ROWS = [
    Row("5.6", "no bytes of text", text(b"")),
    Row("5.6", "one byte of text", text(b"x")),
    *(Row("5.6", f"{n} bytes, binary", client_frame(BINARY, b"\xff" * n)) for n in (0, 125, 126)),
    Row("5.6", "65535 bytes, binary", client_frame(BINARY, b"\xff" * 65535)),
    Row("10.4", "the largest message", client_frame(BINARY, bytes(SUBSCRIBER_BYTES)) * 2),
    Row(
        "10.4",
        "one byte more",
        frame_header(0x82, b"\xff" + (SUBSCRIBER_BYTES + 1).to_bytes(8, "big")),
        (TOO_BIG,),
    ),
    Row("10.4", "the largest message, in fragments", in_pieces(bytes(SUBSCRIBER_BYTES), 999)),
    Row(
        "10.4",
        "one byte more, in fragments",
        text(bytes(SUBSCRIBER_BYTES), fin=False) + more(b"x"),
        (TOO_BIG,),
    ),
    *(Row("8.1", case, text(payload)) for case, payload in VALID_TEXTS.items()),
    *(
        Row("5.6", f"{case}, one byte per fragment", in_pieces(payload + b"x", 1))
        for case, payload in VALID_TEXTS.items()
    ),
    *(
        Row("8.1", case, frame_beginning(payload), (INVALID_UTF8,))
        for case, payload in INVALID_TEXTS.items()
    ),
    *(
        Row(
            "8.1",
            f"{case}, across fragments",
            text(payload[:-1], fin=False) + ping() + frame_beginning(payload[-1:], CONTINUATION),
            (pong(), INVALID_UTF8),
        )
        for case, payload in INVALID_TEXTS.items()
    ),
    Row("8.1", "ends inside a character", text(b"\xe2\x82"), (INVALID_UTF8,)),
    Row(
        "8.1",
        "the last fragment ends inside a character",
        text(b"\xe2", fin=False) + more(b"\x82", fin=True),
        (INVALID_UTF8,),
    ),
    Row("8.1", "in a binary message", client_frame(BINARY, b"\xff\xfe\xc0")),
    Row("8.1", "a character across fragments", text(b"\xc2", fin=False) + more(b"\xa2", fin=True)),
]

PRODUCER_ROWS = [
    Row("5.6", "no bytes of text", text(b""), (INVALID_EVENT,), 0),
    Row("5.6", "binary", client_frame(BINARY, EVENT), (INVALID_EVENT,), 0),
    Row(
        "5.6",
        "events before an invalid one are published",
        text(EVENT) * 3 + text(b"{}") + text(EVENT),
        (INVALID_EVENT,),
        3,
    ),
    Row(
        "10.4",
        "one byte too many",
        frame_header(0x81, b"\xff" + (PRODUCER_BYTES + 1).to_bytes(8, "big")),
        (TOO_BIG,),
    ),
    Row(
        "10.4",
        "one byte too many, in fragments",
        text(EVENT, fin=False) + frame_header(0x00, b"\xff" + PRODUCER_BYTES.to_bytes(8, "big")),
        (TOO_BIG,),
    ),
    *(
        Row("8.1", case, text(EVENT.replace(b"xx", payload)), events=1)
        for case, payload in VALID_TEXTS.items()
        if case != "NUL"
    ),
    *(
        Row("8.1", case, text(EVENT.replace(b"xx", payload)), (INVALID_EVENT,), 0)
        for case, payload in INVALID_TEXTS.items()
    ),
    Row(
        "8.1",
        "a character in two fragments",
        in_pieces(EVENT.replace(b"xx", "\u03ba\u1f79".encode()), 37),
        events=1,
    ),
]


@pytest.mark.parametrize("row", [*BOTH, *SUBSCRIBER_ROWS], ids=row_id)
async def test_frames_of_a_subscriber(row: Row) -> None:
    async with running_server() as server:
        peer = await server.connect(SUBSCRIBER)
        await peer.check(row)
        assert await server.published() == 0


@pytest.mark.parametrize("row", [*BOTH, *PRODUCER_ROWS], ids=row_id)
async def test_frames_of_a_producer(row: Row) -> None:
    async with running_server() as server:
        peer = await server.connect(PRODUCER)
        await peer.check(row)
        assert await server.published() == (row.events or 0)
