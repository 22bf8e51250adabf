"""Streams of events without HTTP: published as they come, bounded, ended with a count."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from ryze.errors import INVALID_TOKEN, REQUEST_TIMEOUT, ApiError
from ryze.events.event import Event
from ryze.ingest.ndjson_stream import EventStream, StreamLimits

LIMITS = StreamLimits(line_bytes=100, line_seconds=60)


def line(n: int) -> bytes:
    return b'{"event":"call.update","data":{"n":%d}}\n' % n


def event(n: int) -> Event:
    return Event("call.update", b'{"n":%d}' % n)


class Producer:
    """Sends pieces, each after some seconds; keeps the connection open after the last one."""

    def __init__(self, *pieces: bytes, seconds: float = 0, ends: bool = True) -> None:
        self._pieces = [*pieces, b""] if ends else [*pieces]
        self._seconds = seconds
        self.published: list[list[Event]] = []
        # The number of pieces received when a token becomes void.
        self.void_after = len(pieces) + 2
        self._received = 0
        self.stream = EventStream(self._receive, self._recheck_access, self._publish, LIMITS)

    async def _receive(self, deadline: float) -> bytes:
        with trio.move_on_at(deadline):
            if not self._pieces:
                await trio.sleep_forever()
            await trio.sleep(self._seconds)
            self._received += 1
            return self._pieces.pop(0)
        raise ApiError(REQUEST_TIMEOUT)

    def _recheck_access(self) -> None:
        if self._received >= self.void_after:
            raise ApiError(INVALID_TOKEN)

    async def _publish(self, events: Sequence[Event]) -> int:
        self.published.append(list(events))
        return len(self.published)


async def fail(producer: Producer, encoding: str = "identity") -> tuple[int, str]:
    with pytest.raises(ApiError) as raised:
        await producer.stream.publish_all(encoding)
    return raised.value.status, raised.value.message


async def test_lines_are_published_as_they_come() -> None:
    producer = Producer(line(1) + line(2) + line(3)[:5], line(3)[5:], line(4)[:-1])
    await producer.stream.publish_all()
    assert producer.published == [[event(1), event(2)], [event(3)], [event(4)]]
    assert (producer.stream.published, producer.stream.clients) == (4, 3)


async def test_stream_without_events_publishes_nothing() -> None:
    producer = Producer(b"\n", b" \r\n")
    await producer.stream.publish_all()
    assert (producer.published, producer.stream.published, producer.stream.clients) == ([], 0, 0)


async def test_events_before_an_invalid_line_stay_published() -> None:
    producer = Producer(line(1), line(2) + b"x\n" + line(3), line(4))
    status, message = await fail(producer)
    assert status == 400
    assert message.startswith("Invalid request body: line 3: JSON is malformed")
    assert message.endswith("; 2 published")
    assert producer.published == [[event(1)], [event(2)]]


async def test_line_over_the_limit_is_a_413() -> None:
    producer = Producer(line(1) + b"x" * 101)
    assert await fail(producer) == (413, "Request body too large: line 2; 1 published")
    assert producer.published == [[event(1)]]


async def test_other_content_encodings_are_refused_before_anything_is_received() -> None:
    message = "Invalid request body: a Content-Encoding is not supported; 0 published"
    assert await fail(Producer(line(1)), "gzip") == (400, message)
    producer = Producer(line(1))
    await producer.stream.publish_all("Identity")
    assert producer.published == [[event(1)]]


@pytest.mark.parametrize("sign_of_life", [b"\n", line(1)], ids=["blank line", "event"])
async def test_every_complete_line_extends_the_deadline(
    autojump_clock: MockClock, sign_of_life: bytes
) -> None:
    producer = Producer(*[sign_of_life] * 5, seconds=59)
    await producer.stream.publish_all()
    assert trio.current_time() == 6 * 59


async def test_incomplete_lines_do_not_extend_the_deadline(autojump_clock: MockClock) -> None:
    producer = Producer(line(1), b"{", b"}", seconds=25, ends=False)
    begun = trio.current_time()
    assert await fail(producer) == (408, "Request timeout; 1 published")
    assert trio.current_time() == begun + 25 + 60


async def test_first_line_has_a_deadline(autojump_clock: MockClock) -> None:
    begun = trio.current_time()
    assert await fail(Producer(ends=False)) == (408, "Request timeout; 0 published")
    assert trio.current_time() == begun + 60


@pytest.mark.parametrize("piece", [line(2), b"\n", b"{"], ids=["event", "blank line", "no line"])
async def test_void_token_ends_the_stream_at_the_next_bytes(piece: bytes) -> None:
    producer = Producer(line(1), piece, line(3))
    producer.void_after = 2
    assert await fail(producer) == (401, "Invalid token; 1 published")
    assert producer.published == [[event(1)]]


async def test_token_is_not_rechecked_at_the_end_of_a_stream() -> None:
    producer = Producer(line(1))
    producer.void_after = 2
    await producer.stream.publish_all()
    assert producer.stream.published == 1


async def test_headers_of_errors_are_kept() -> None:
    async def receive(deadline: float) -> bytes:
        raise ApiError(REQUEST_TIMEOUT, headers={"Retry-After": "1"})

    async def publish(events: Sequence[Event]) -> int:
        raise AssertionError("nothing to publish")

    with pytest.raises(ApiError) as raised:
        await EventStream(receive, lambda: None, publish, LIMITS).publish_all()
    assert raised.value.headers == {"Retry-After": "1"}
    assert raised.value.reason == "request_timeout"
