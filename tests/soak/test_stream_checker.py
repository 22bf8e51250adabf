import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.websocket_client import CLOSE, PING, PONG, client_frame
from ryze.records import WebsocketConfig
from tests.soak.config_timeline import ConfigTimeline
from tests.soak.expected_stream import ExpectedStream, Violation
from tests.soak.stream_checker import StreamChecker
from tests.soak.workload import Workload

PING_FRAME = bytes((0x80 | PING, 2)) + b"hi"
CLOSE_FRAME = bytes((0x80 | CLOSE, 2)) + b"\x03\xe8"


def new_stream(events: int = 0) -> ExpectedStream:
    """A stream with so many events published, none of them received."""
    config = WebsocketConfig(enabled=True, media_base64=True)
    stream = ExpectedStream(Workload("http://test", "demo", "token"), ConfigTimeline(config))
    stream.add_producer()
    stream.send(0, events)
    return stream


def frames(stream: ExpectedStream, *numbers: int) -> bytes:
    return b"".join(stream.workload.frame(0, number, media=True) for number in numbers)


@given(st.lists(st.integers(1, 400), max_size=20), st.booleans())
def test_any_split_of_the_bytes(sizes: list[int], ahead: bool) -> None:
    """Both when it appends to the stream and when it is compared with it."""
    stream = new_stream(5)
    checker, other = StreamChecker(stream, first=True), StreamChecker(stream, first=True)
    if ahead:
        other.receive(frames(stream, *range(5)))
    data = frames(stream, 0, 1) + PING_FRAME + frames(stream, 2, 3, 4)
    replies = b""
    for size in sizes:
        replies += checker.receive(data[:size])
        data = data[size:]
    replies += checker.receive(data)
    assert replies == client_frame(b"hi", PONG)
    assert checker.has_all(stream.end)
    assert stream.frames == 5


def test_later_subscriber_starts_inside_the_stream() -> None:
    stream = new_stream(3)
    first = StreamChecker(stream, first=True)
    first.receive(frames(stream, 0))
    later = StreamChecker(stream)
    later.opened()
    stream.send(0, 1)
    # It is ahead of all others, so the offset of its first event is not known yet.
    later.receive(frames(stream, 2))
    assert later.is_ahead
    first.receive(frames(stream, 1, 2))
    later.receive(b"")
    assert not later.is_ahead
    assert later.has_all(stream.end)
    first.receive(frames(stream, 3))
    assert not later.has_all(stream.end)
    assert later.bytes_behind == len(frames(stream, 3))


def test_later_subscriber_must_receive_events_sent_after_its_101() -> None:
    stream = new_stream(1)
    first, later = StreamChecker(stream, first=True), StreamChecker(stream)
    later.opened()
    stream.send(0, 2)
    first.receive(frames(stream, 0))
    assert later.has_all(stream.end)
    assert later.bytes_behind == 0
    first.receive(frames(stream, 1, 2))
    assert not later.has_all(stream.end)
    with pytest.raises(Violation, match="event 1 of producer 0 missed after the 101"):
        later.receive(frames(stream, 2))


def test_events_received_before_it_connected_are_not_matched() -> None:
    stream = new_stream(1)
    StreamChecker(stream, first=True).receive(frames(stream, 0))
    later = StreamChecker(stream)
    later.receive(frames(stream, 0))
    assert later.is_ahead


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ((0, 2), "differs from what others"),
        ((0, 0), "differs from what others"),
        ((0, 1, 2, 1), "duplicate or late"),
    ],
    ids=["gap", "duplicate", "late duplicate"],
)
def test_stream_that_differs_from_others(wrong: tuple[int, ...], match: str) -> None:
    stream = new_stream(3)
    first, second = StreamChecker(stream, first=True), StreamChecker(stream, first=True)
    first.receive(frames(stream, 0, 1, 2))
    with pytest.raises(Violation, match=match):
        second.receive(frames(stream, *wrong))


def test_compressed_frames_are_compared_inflated() -> None:
    stream = new_stream(1)
    first, second = StreamChecker(stream, first=True), StreamChecker(stream, first=True)
    first.receive(frames(stream, 0))
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    payload = deflate.compress(frames(stream, 0)[4:]) + deflate.flush(zlib.Z_SYNC_FLUSH)
    payload = payload.removesuffix(b"\x00\x00\xff\xff")
    frame = bytes((0xC1, 126)) + len(payload).to_bytes(2, "big") + payload
    with pytest.raises(Violation, match="without negotiated compression"):
        StreamChecker(stream, first=True).receive(frame)
    second.opened(deflated=True)
    second.receive(frame)
    assert second.has_all(stream.end)


def test_event_after_a_close_frame() -> None:
    stream = new_stream(1)
    checker = StreamChecker(stream, first=True)
    assert checker.receive(CLOSE_FRAME) == client_frame(b"\x03\xe8", CLOSE)
    assert checker.close_code == 1000
    with pytest.raises(Violation, match="after the close"):
        checker.receive(frames(stream, 0))


def test_unknown_opcode() -> None:
    with pytest.raises(Violation, match="opcode 3"):
        StreamChecker(new_stream(), first=True).receive(b"\x83\x00")
