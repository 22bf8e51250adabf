"""`OpenLoopRecord`: when each event of an open loop was due, how late it was, when it arrived."""

import array
import math
import time

from bench.errors import DeliveryError
from bench.load_generator.subscribers import ExpectedStream, Subscriber

__all__ = ["OpenLoopRecord"]

# epoll counts in milliseconds: less than this before an event is due, the loop spins.
_SPIN_SECONDS = 0.001

# Bins of the histogram of receipts: ten per decade, from 10 us on.
_FIRST_BIN = 1e-5
_BINS_PER_DECADE = 10


class OpenLoopRecord:
    """Schedule, lateness and receipts of the events of an open loop.

    Args:
        begin: time at which the first event is due.
        interval: seconds between two events.
        count: number of events.
        expected: the stream of all subscribers, as it is before the first event.

    Attributes:
        receipts: seconds from an event's due time to each of its receipts.
        last: seconds from an event's due time to its last receipt, per event.
        lateness: seconds from an event's due time until it was written, per event.
    """

    def __init__(self, begin: float, interval: float, count: int, expected: ExpectedStream) -> None:
        self._begin = begin
        self._interval = interval
        self._published = 0
        self._frame_size = expected.frame_size
        # Frames that every subscriber had received before the first event.
        self._earlier_frames = expected.total // expected.frame_size
        self.last = array.array("d", bytes(8 * count))
        self.lateness = array.array("d")
        self.receipts = array.array("d")

    @property
    def is_complete(self) -> bool:
        """All events have been published."""
        return self._published == len(self.last)

    @property
    def next_due(self) -> float:
        """The time at which the next event must be published."""
        return self._begin + self._published * self._interval

    def poll_seconds(self) -> float:
        """Return how long the loop may wait for receipts before the next event is due."""
        if self.is_complete:
            return 1.0
        left = self.next_due - time.perf_counter() - _SPIN_SECONDS
        return max(0.0, left // _SPIN_SECONDS * _SPIN_SECONDS)

    def add_published(self, lateness: float) -> None:
        """Record that the next event has been published, and its lateness in seconds."""
        self.lateness.append(lateness)
        self._published += 1

    def add_received(self, subscriber: Subscriber, now: float) -> int:
        """Record events that a subscriber has received since the last call; return how many.

        Raises:
            DeliveryError: it has received more than was published.
        """
        end = subscriber.received // self._frame_size - self._earlier_frames
        start = subscriber.recorded
        if end > self._published:
            raise DeliveryError(f"{end - self._published} events more than were published")
        for index in range(start, end):
            latency = now - self._begin - index * self._interval
            self.receipts.append(latency)
            self.last[index] = latency
        subscriber.recorded = end
        return end - start

    def histogram(self) -> dict[str, int]:
        """Return the number of receipts per bin, by the bin's upper edge in seconds."""
        bins: dict[int, int] = {}
        for value in self.receipts:
            place = max(0, math.ceil(math.log10(value / _FIRST_BIN) * _BINS_PER_DECADE))
            bins[place] = bins.get(place, 0) + 1
        edges = {place: _FIRST_BIN * 10 ** (place / _BINS_PER_DECADE) for place in bins}
        return {f"{edges[place]:.3g}": bins[place] for place in sorted(bins)}
