"""An open loop times receipts from when an event was due, not from when it was sent."""

from types import SimpleNamespace
from typing import Any

import pytest

from bench.load_generator.client_group import LoadError
from bench.load_generator.open_loop_record import Tape
from bench.load_generator.subscribers import Stream
from bench.percentiles import percentiles

FRAME_BYTES = 100


def new_tape(count: int, published: int = 0) -> Tape:
    """Events are due at 10.0, 10.5, 11.0 and so on."""
    stream = Stream()
    stream.frame_size = FRAME_BYTES
    stream.due = 7 * FRAME_BYTES
    tape = Tape(10.0, 0.5, count, stream)
    for _ in range(published):
        tape.published(late=0)
    return tape


def subscriber(events: float) -> Any:
    """One who has received so many events, after the seven of before."""
    return SimpleNamespace(total=round((7 + events) * FRAME_BYTES), noted=0)


def test_receipts_are_timed_from_when_an_event_was_due() -> None:
    tape = new_tape(3, published=3)
    one = subscriber(2.5)
    assert tape.received(one, now=10.75) == 2
    assert list(tape.receipts) == [0.75, 0.25]
    one.total += FRAME_BYTES // 2
    assert tape.received(one, now=11.5) == 1
    assert list(tape.receipts) == [0.75, 0.25, 0.5]


def test_the_last_receipt_of_each_event() -> None:
    tape = new_tape(2, published=2)
    tape.received(subscriber(2), now=10.5)
    tape.received(subscriber(2), now=10.625)
    assert list(tape.last) == [0.625, 0.125]


def test_more_than_was_published() -> None:
    tape = new_tape(3, published=2)
    with pytest.raises(LoadError, match="1 events more than were published"):
        tape.received(subscriber(3), now=11.5)


def test_when_the_next_event_is_due() -> None:
    tape = new_tape(2)
    assert tape.next_due == 10.0
    tape.published(late=0.25)
    assert tape.next_due == 10.5
    assert not tape.is_over
    tape.published(late=0.125)
    assert tape.is_over
    assert list(tape.lateness) == [0.25, 0.125]


def test_percentiles() -> None:
    values = [number / 1000 for number in range(1000, -1, -1)]
    assert percentiles(values) == {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}


def test_the_histogram_has_ten_bins_a_decade() -> None:
    tape = new_tape(1)
    tape.receipts.extend((1e-6, 1e-5, 0.9e-3, 1e-3, 1.1e-3))
    bins = {float(edge): count for edge, count in tape.histogram().items()}
    assert bins == pytest.approx({1e-5: 2, 1e-3: 2, 1.26e-3: 1})
