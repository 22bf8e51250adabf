"""Numbers that are kept where things happen, and read when somebody asks (``/metrics``).

Theory. What is counted lies on the way of every event, where a microsecond is much. So nothing
there knows of metrics: it adds to plain integers, and `api/collector` makes metrics of them at
the moment of a scrape.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

__all__ = ["Histogram"]


class Histogram:
    """How often a value was how large: counts between fixed bounds, and the sum of all values.

    Args:
        bounds: the upper ends, rising; a value that is equal to one belongs below it. What is
            above the last is counted too.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        # The sum of all values.
        self.total = 0.0
        # Values between the bound before and the one at the same place; one more for the rest.
        self._counts = [0] * (len(self.bounds) + 1)

    def __repr__(self) -> str:
        return f"<Histogram of {sum(self._counts)} values, {self.total:g} in all>"

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound with the number of values up to it; infinity, with all of them, at the end."""
        count = 0
        for bound, more in zip((*self.bounds, float("inf")), self._counts, strict=True):
            count += more
            yield bound, count
