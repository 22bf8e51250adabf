"""RFC 6455, sections 5.5.1 and 7: the close frame, every code, and what may follow it."""

import pytest

from ryze.disconnects import INSTANCE_DELETED
from ryze.websocket.client_frames import FrameError, check_close
from tests.conformance.harness import (
    CLOSE,
    PUBLISHER,
    SUBSCRIBER,
    TEXT,
    Row,
    close,
    closed,
    event,
    open_door,
    ping,
    pong,
    row_id,
)
from tests.fakes import client_frame

BYE, PROTOCOL_ERROR, INVALID_UTF8 = closed(1000), closed(1002), closed(1007)

# Section 7.4.1 and the registry of section 11.7; the ranges of section 7.4.2.
MAY_BE_SENT = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)
MUST_NOT_BE_SENT = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535)

REASON = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()

CLOSES = [
    Row("5.5.1", "no body", client_frame(CLOSE), (BYE,)),
    Row("5.5.1", "one byte", client_frame(CLOSE, b"\x03"), (PROTOCOL_ERROR,)),
    *(Row("7.4", f"code {code}", close(code), (BYE,)) for code in MAY_BE_SENT),
    *(Row("7.4", f"code {code}", close(code), (PROTOCOL_ERROR,)) for code in MUST_NOT_BE_SENT),
    Row("5.5.1", "a reason", close(1000, REASON), (BYE,)),
    Row("5.5.1", "a reason of 123 bytes", close(1000, b"x" * 123), (BYE,)),
    Row("5.5", "a reason of 124 bytes", close(1000, b"x" * 124), (PROTOCOL_ERROR,)),
    Row("5.5.1", "a reason that is no text", close(1000, b"\xff"), (INVALID_UTF8,)),
    Row("8.1", "a reason with a surrogate", close(1000, b"\xed\xa0\x80"), (INVALID_UTF8,)),
    Row("8.1", "a reason that ends in a character", close(1000, REASON[:-1]), (INVALID_UTF8,)),
    Row("5.5.1", "a ping behind it", close(1000) + ping(b"1"), (BYE,)),
    Row("5.5.1", "a message behind it", close(1000) + client_frame(TEXT, event()), (BYE,), 0),
    Row("5.5.1", "a second one behind it", close(1000) + close(1002), (BYE,)),
    Row("1.4", "no frame behind it", close(1000) + b"\xff" * 99, (BYE,)),
    Row("1.4", "half a frame behind it", close(1000) + b"\x81", (BYE,)),
    Row("5.5.3", "a ping before it", ping(b"1") + close(1000), (pong(b"1"), BYE)),
    Row("7.1.7", "behind a frame that is wrong", client_frame(3) + close(1000), (PROTOCOL_ERROR,)),
]


@pytest.mark.parametrize("row", CLOSES, ids=row_id)
@pytest.mark.parametrize("target", [SUBSCRIBER, PUBLISHER])
async def test_a_close(target: str, row: Row) -> None:
    async with open_door() as door:
        wire = await door.connect(target)
        await wire.check(row)
        assert await door.published() == 0


@pytest.mark.parametrize("target", [SUBSCRIBER, PUBLISHER])
async def test_both_close_at_once(target: str) -> None:
    """Section 7.1.5: each takes the other's close for the answer to its own."""
    async with open_door() as door:
        wire = await door.connect(target)
        door.end_everything(INSTANCE_DELETED)
        # On its way before theirs could be read.
        await wire.send(close(1001))
        assert await wire.frames(2) == [closed(4504)]


@pytest.mark.parametrize("target", [SUBSCRIBER, PUBLISHER])
async def test_what_comes_between_our_close_and_theirs_is_thrown_away(target: str) -> None:
    """Section 5.5.1: after its close an endpoint sends nothing more, a pong neither."""
    async with open_door() as door:
        wire = await door.connect(target)
        door.end_everything(INSTANCE_DELETED)
        await wire.send(ping(b"1") + client_frame(TEXT, event()) + close(4504))
        assert await wire.frames(2) == [closed(4504)]
        assert await door.published() == 0


@pytest.mark.parametrize("target", [SUBSCRIBER, PUBLISHER])
async def test_a_peer_that_hangs_up_without_a_close_gets_none(target: str) -> None:
    """Section 7.1.5: that is 1006 on both sides, and never on the wire (section 7.4.1)."""
    async with open_door() as door:
        wire = await door.connect(target)
        await wire.hang_up()
        assert await wire.frames(1) == []


def test_every_code_there_is() -> None:
    """All 65,536 of them, without a socket."""
    accepted = {code for code in range(65536) if _is_accepted(code)}
    assert accepted == {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}


def _is_accepted(code: int) -> bool:
    try:
        check_close(code.to_bytes(2, "big"))
    except FrameError:
        return False
    return True
