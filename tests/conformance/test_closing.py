"""RFC 6455, sections 5.5.1 and 7: close frames, close codes, and frames after a close."""

import pytest

from ryze.disconnects import INSTANCE_DELETED
from ryze.websocket.client_frames import FrameError, check_close
from tests.conformance.harness import (
    CLOSE,
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
from tests.fakes import client_frame

NORMAL, PROTOCOL_ERROR, INVALID_UTF8 = closed(1000), closed(1002), closed(1007)

# Section 7.4.1 and the registry of section 11.7; the ranges of section 7.4.2.
ALLOWED_CODES = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)
FORBIDDEN_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535)

REASON = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()

CLOSES = [
    Row("5.5.1", "no body", client_frame(CLOSE), (NORMAL,)),
    Row("5.5.1", "one byte", client_frame(CLOSE, b"\x03"), (PROTOCOL_ERROR,)),
    *(Row("7.4", f"code {code}", close(code), (NORMAL,)) for code in ALLOWED_CODES),
    *(Row("7.4", f"code {code}", close(code), (PROTOCOL_ERROR,)) for code in FORBIDDEN_CODES),
    Row("5.5.1", "a reason", close(1000, REASON), (NORMAL,)),
    Row("5.5.1", "a reason of 123 bytes", close(1000, b"x" * 123), (NORMAL,)),
    Row("5.5", "a reason of 124 bytes", close(1000, b"x" * 124), (PROTOCOL_ERROR,)),
    Row("5.5.1", "a reason that is not UTF-8", close(1000, b"\xff"), (INVALID_UTF8,)),
    Row("8.1", "a reason with a surrogate", close(1000, b"\xed\xa0\x80"), (INVALID_UTF8,)),
    Row("8.1", "a reason that ends inside a character", close(1000, REASON[:-1]), (INVALID_UTF8,)),
    Row("5.5.1", "a ping after it", close(1000) + ping(b"1"), (NORMAL,)),
    Row("5.5.1", "a message after it", close(1000) + client_frame(TEXT, event()), (NORMAL,), 0),
    Row("5.5.1", "a second close after it", close(1000) + close(1002), (NORMAL,)),
    Row("1.4", "bytes that are no frame after it", close(1000) + b"\xff" * 99, (NORMAL,)),
    Row("1.4", "a partial frame after it", close(1000) + b"\x81", (NORMAL,)),
    Row("5.5.3", "a ping before it", ping(b"1") + close(1000), (pong(b"1"), NORMAL)),
    Row("7.1.7", "after an invalid frame", client_frame(3) + close(1000), (PROTOCOL_ERROR,)),
]


@pytest.mark.parametrize("row", CLOSES, ids=row_id)
@pytest.mark.parametrize("target", [SUBSCRIBER, PRODUCER])
async def test_close_frame(target: str, row: Row) -> None:
    async with running_server() as server:
        peer = await server.connect(target)
        await peer.check(row)
        assert await server.published() == 0


@pytest.mark.parametrize("target", [SUBSCRIBER, PRODUCER])
async def test_simultaneous_close(target: str) -> None:
    """Section 7.1.5: each takes the other's close for the reply to its own."""
    async with running_server() as server:
        peer = await server.connect(target)
        server.disconnect_all(INSTANCE_DELETED)
        # Sent before the server's close is read.
        await peer.send(close(1001))
        assert await peer.frames(2) == [closed(4504)]


@pytest.mark.parametrize("target", [SUBSCRIBER, PRODUCER])
async def test_frames_between_our_close_and_theirs_are_discarded(target: str) -> None:
    """Section 5.5.1: after its close frame an endpoint sends nothing more, not even a pong."""
    async with running_server() as server:
        peer = await server.connect(target)
        server.disconnect_all(INSTANCE_DELETED)
        await peer.send(ping(b"1") + client_frame(TEXT, event()) + close(4504))
        assert await peer.frames(2) == [closed(4504)]
        assert await server.published() == 0


@pytest.mark.parametrize("target", [SUBSCRIBER, PRODUCER])
async def test_no_close_frame_is_sent_to_a_peer_that_sent_none(target: str) -> None:
    """Section 7.1.5: this is 1006 on both sides, which is never sent (section 7.4.1)."""
    async with running_server() as server:
        peer = await server.connect(target)
        await peer.send_eof()
        assert await peer.frames(1) == []


def test_all_65536_codes() -> None:
    """Without a socket."""
    accepted = {code for code in range(65536) if _is_accepted(code)}
    assert accepted == {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}


def _is_accepted(code: int) -> bool:
    try:
        check_close(code.to_bytes(2, "big"))
    except FrameError:
        return False
    return True
