"""Trend of samples over time: the Theil-Sen slope, which outliers do not change."""

from collections.abc import Sequence
from statistics import median

__all__ = ["Trend", "trend_of"]

# The slope needs every pair of samples, so the samples of a long run are thinned out.
_MOST_SAMPLES = 300


class Trend:
    """Trend of the second half of the samples.

    Args:
        level: median of the samples.
        growth: rise of the line through them, from the first sample to the last.
    """

    def __init__(self, level: float, growth: float) -> None:
        self.level = level
        self.growth = growth

    def is_flat(self, share: float, absolute: float) -> bool:
        """Is the growth within `share` of the level, or within `absolute`?"""
        return self.growth <= max(share * self.level, absolute)


def trend_of(samples: Sequence[tuple[float, float]]) -> Trend:
    """Trend of (time, value) pairs in the second half of their time."""
    begin, end = samples[0][0], samples[-1][0]
    late = [each for each in samples if each[0] >= (begin + end) / 2]
    late = late[:: -(-len(late) // _MOST_SAMPLES)]
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, earlier in enumerate(late)
        for later in late[index + 1 :]
        if later[0] > earlier[0]
    ]
    level = median(value for _, value in late)
    span = late[-1][0] - late[0][0]
    return Trend(level, median(slopes) * span if slopes else 0.0)
