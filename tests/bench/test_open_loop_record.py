"""An open loop times receipts from when an event was due, not from when it was sent."""

from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import DeliveryError
from bench.load_generator.open_loop_record import OpenLoopRecord
from bench.load_generator.subscribers import ExpectedStream
from bench.percentiles import percentiles

FRAME_BYTES = 100
EARLIER_FRAMES = 7


def make_record(count: int, published: int = 0) -> OpenLoopRecord:
    """Make a record whose events are due at 10.0, 10.5, 11.0 and so on."""
    expected = ExpectedStream()
    expected.frame_size = FRAME_BYTES
    expected.total = EARLIER_FRAMES * FRAME_BYTES
    record = OpenLoopRecord(10.0, 0.5, count, expected)
    for _ in range(published):
        record.add_published(lateness=0)
    return record


def make_subscriber(events: float) -> Any:
    """Make a subscriber that has received so many events, after the earlier ones."""
    return SimpleNamespace(received=round((EARLIER_FRAMES + events) * FRAME_BYTES), recorded=0)


def test_receipts_are_timed_from_when_an_event_was_due() -> None:
    record = make_record(3, published=3)
    subscriber = make_subscriber(2.5)
    assert record.add_received(subscriber, now=10.75) == 2
    assert list(record.receipts) == [0.75, 0.25]
    subscriber.received += FRAME_BYTES // 2
    assert record.add_received(subscriber, now=11.5) == 1
    assert list(record.receipts) == [0.75, 0.25, 0.5]


def test_last_receipt_of_each_event_is_kept() -> None:
    record = make_record(2, published=2)
    record.add_received(make_subscriber(2), now=10.5)
    record.add_received(make_subscriber(2), now=10.625)
    assert list(record.last) == [0.625, 0.125]


def test_more_events_than_published_raise() -> None:
    record = make_record(3, published=2)
    with pytest.raises(DeliveryError, match="1 events more than were published"):
        record.add_received(make_subscriber(3), now=11.5)


def test_next_event_is_due_on_schedule_even_after_a_late_one() -> None:
    record = make_record(2)
    assert record.next_due == 10.0
    record.add_published(lateness=0.25)
    assert record.next_due == 10.5
    assert not record.is_complete
    record.add_published(lateness=0.125)
    assert record.is_complete
    assert list(record.lateness) == [0.25, 0.125]


def test_percentiles() -> None:
    values = [number / 1000 for number in range(1000, -1, -1)]
    assert percentiles(values) == {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}


def test_histogram_has_ten_bins_per_decade() -> None:
    record = make_record(1)
    record.receipts.extend((1e-6, 1e-5, 0.9e-3, 1e-3, 1.1e-3))
    bins = {float(edge): count for edge, count in record.histogram().items()}
    assert bins == pytest.approx({1e-5: 2, 1e-3: 2, 1.26e-3: 1})
