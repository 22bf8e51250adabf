import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.websocket_client import CLOSE, PING, PONG, client_frame
from ryze.records import WebsocketConfig
from tests.soak.ledger import Ledger, Violation
from tests.soak.listener import Listener
from tests.soak.script import Script
from tests.soak.timeline import Timeline

PING_FRAME = bytes((0x80 | PING, 2)) + b"hi"
CLOSE_FRAME = bytes((0x80 | CLOSE, 2)) + b"\x03\xe8"


def new_ledger(events: int = 0) -> Ledger:
    """With so many events published, none of them received."""
    config = WebsocketConfig(enabled=True, media_base64=True)
    ledger = Ledger(Script("http://test", "demo", "token"), Timeline(config))
    ledger.add_publisher()
    ledger.send(0, events)
    return ledger


def frames(ledger: Ledger, *numbers: int) -> bytes:
    return b"".join(ledger.script.frame(0, number, media=True) for number in numbers)


@given(st.lists(st.integers(1, 400), max_size=20), st.booleans())
def test_however_the_bytes_are_split(sizes: list[int], ahead: bool) -> None:
    """Whether it writes the ledger itself or is compared with it."""
    ledger = new_ledger(5)
    listener, other = Listener(ledger, first=True), Listener(ledger, first=True)
    if ahead:
        other.receive(frames(ledger, *range(5)))
    data = frames(ledger, 0, 1) + PING_FRAME + frames(ledger, 2, 3, 4)
    answers = b""
    for size in sizes:
        answers += listener.receive(data[:size])
        data = data[size:]
    answers += listener.receive(data)
    assert answers == client_frame(b"hi", PONG)
    assert listener.has_all(ledger.end)
    assert ledger.frames == 5


def test_a_newcomer_begins_where_others_have_been() -> None:
    ledger = new_ledger(3)
    first = Listener(ledger, first=True)
    first.receive(frames(ledger, 0))
    newcomer = Listener(ledger)
    newcomer.opened()
    ledger.send(0, 1)
    # It is ahead of the others: where its first event stands is not known yet.
    newcomer.receive(frames(ledger, 2))
    assert newcomer.is_lost
    first.receive(frames(ledger, 1, 2))
    newcomer.receive(b"")
    assert not newcomer.is_lost
    assert newcomer.has_all(ledger.end)
    first.receive(frames(ledger, 3))
    assert not newcomer.has_all(ledger.end)
    assert newcomer.behind == len(frames(ledger, 3))


def test_a_newcomer_is_owed_what_was_sent_after_its_101() -> None:
    ledger = new_ledger(1)
    first, newcomer = Listener(ledger, first=True), Listener(ledger)
    newcomer.opened()
    ledger.send(0, 2)
    first.receive(frames(ledger, 0))
    assert newcomer.has_all(ledger.end)
    assert newcomer.behind == 0
    first.receive(frames(ledger, 1, 2))
    assert not newcomer.has_all(ledger.end)
    with pytest.raises(Violation, match="missed at its beginning: event 1"):
        newcomer.receive(frames(ledger, 2))


def test_what_was_received_before_it_came_is_not_for_it() -> None:
    ledger = new_ledger(1)
    Listener(ledger, first=True).receive(frames(ledger, 0))
    newcomer = Listener(ledger)
    newcomer.receive(frames(ledger, 0))
    assert newcomer.is_lost


@pytest.mark.parametrize(
    ("wrong", "match"),
    [((0, 2), "not what others"), ((0, 0), "not what others"), ((0, 1, 2, 1), "twice, or late")],
    ids=["a gap", "twice", "again later"],
)
def test_a_stream_that_is_not_that_of_others(wrong: tuple[int, ...], match: str) -> None:
    ledger = new_ledger(3)
    first, second = Listener(ledger, first=True), Listener(ledger, first=True)
    first.receive(frames(ledger, 0, 1, 2))
    with pytest.raises(Violation, match=match):
        second.receive(frames(ledger, *wrong))


def test_compressed_frames_are_the_same_events() -> None:
    ledger = new_ledger(1)
    first, second = Listener(ledger, first=True), Listener(ledger, first=True)
    first.receive(frames(ledger, 0))
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    payload = deflate.compress(frames(ledger, 0)[4:]) + deflate.flush(zlib.Z_SYNC_FLUSH)
    payload = payload.removesuffix(b"\x00\x00\xff\xff")
    frame = bytes((0xC1, 126)) + len(payload).to_bytes(2, "big") + payload
    with pytest.raises(Violation, match="not agreed upon"):
        Listener(ledger, first=True).receive(frame)
    second.opened(deflated=True)
    second.receive(frame)
    assert second.has_all(ledger.end)


def test_nothing_comes_behind_a_close() -> None:
    ledger = new_ledger(1)
    listener = Listener(ledger, first=True)
    assert listener.receive(CLOSE_FRAME) == client_frame(b"\x03\xe8", CLOSE)
    assert listener.close_code == 1000
    with pytest.raises(Violation, match="behind the close"):
        listener.receive(frames(ledger, 0))


def test_a_frame_that_no_server_sends() -> None:
    with pytest.raises(Violation, match="opcode 3"):
        Listener(new_ledger(), first=True).receive(b"\x83\x00")
