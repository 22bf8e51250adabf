"""What an open loop notes: when each event was due, how late it was, when it was received."""

import array
import math
import time

from bench.load_generator.client_group import LoadError
from bench.load_generator.subscribers import Stream, Subscriber

__all__ = ["Tape"]

# A publisher that is late by less than this waits actively: epoll counts in milliseconds.
_SPIN_SECONDS = 0.001


class Tape:
    """What an open loop notes: when each event was due, and when it was received."""

    # A histogram with ten bins a decade, from 10 us on.
    _FIRST_BIN = 1e-5
    _BINS_PER_DECADE = 10

    def __init__(self, begin: float, interval: float, count: int, stream: Stream) -> None:
        self._begin = begin
        self._interval = interval
        self._done = 0
        self._stream = stream
        # Frames that every subscriber had received before the first event.
        self._base = stream.due // stream.frame_size
        self.last = array.array("d", bytes(8 * count))
        self.lateness = array.array("d")
        self.receipts = array.array("d")

    @property
    def is_over(self) -> bool:
        """All events have been published."""
        return self._done == len(self.last)

    @property
    def next_due(self) -> float:
        """When the next event must be published."""
        return self._begin + self._done * self._interval

    def timeout(self) -> float:
        """How long may be waited for receipts until then, in seconds."""
        if self.is_over:
            return 1.0
        left = self.next_due - time.perf_counter() - _SPIN_SECONDS
        return max(0.0, left // _SPIN_SECONDS * _SPIN_SECONDS)

    def published(self, late: float) -> None:
        """Note that an event has been published, so late."""
        self.lateness.append(late)
        self._done += 1

    def received(self, subscriber: Subscriber, now: float) -> int:
        """Note what this subscriber has received since the last time; how many events.

        Raises:
            LoadError: it has received more than was published.
        """
        size = self._stream.frame_size
        end = subscriber.total // size - self._base
        start = subscriber.noted
        if end > self._done:
            raise LoadError(f"{end - self._done} events more than were published")
        for index in range(start, end):
            latency = now - self._begin - index * self._interval
            self.receipts.append(latency)
            self.last[index] = latency
        subscriber.noted = end
        return end - start

    def histogram(self) -> dict[str, int]:
        """How many receipts took up to so many seconds."""
        bins: dict[int, int] = {}
        for value in self.receipts:
            place = math.ceil(math.log10(value / self._FIRST_BIN) * self._BINS_PER_DECADE)
            bins[max(0, place)] = bins.get(max(0, place), 0) + 1
        edge = {place: self._FIRST_BIN * 10 ** (place / self._BINS_PER_DECADE) for place in bins}
        return {f"{edge[place]:.3g}": bins[place] for place in sorted(bins)}
