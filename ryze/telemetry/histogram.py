"""Histograms that cost little to update and are read at a scrape of ``/metrics``.

Values are observed on the path of every event, where each microsecond counts. So the code there
knows nothing of Prometheus: it adds to plain integers, and `ryze.telemetry.metrics` makes metrics
of them at the moment of a scrape.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

__all__ = ["Histogram"]


class Histogram:
    """Counts of values per bucket, and the sum of all values.

    Args:
        bounds: upper bounds of the buckets, ascending and inclusive. Values above the last bound
            are counted in a further bucket.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        # Sum of all values.
        self.total = 0.0
        # Values per bucket, not cumulative; the last bucket has no upper bound.
        self._counts = [0] * (len(self.bounds) + 1)

    def __repr__(self) -> str:
        return f"<Histogram of {sum(self._counts)} values, sum {self.total:g}>"

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each bound with the number of values up to it; infinity comes last."""
        count = 0
        for bound, more in zip((*self.bounds, float("inf")), self._counts, strict=True):
            count += more
            yield bound, count
