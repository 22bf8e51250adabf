"""Does something grow? The slope through many samples, which no single one of them can bend."""

from collections.abc import Sequence
from statistics import median

__all__ = ["Trend", "trend_of"]

# Every pair of samples counts, so a long run is thinned out.
_MOST_SAMPLES = 300


class Trend:
    """What the second half of the samples says.

    Args:
        level: their median.
        growth: by which the line through them rises from the first to the last.
    """

    def __init__(self, level: float, growth: float) -> None:
        self.level = level
        self.growth = growth

    def is_flat(self, share: float, absolute: float) -> bool:
        """Is the growth within this share of the level, or within this much at all?"""
        return self.growth <= max(share * self.level, absolute)


def trend_of(samples: Sequence[tuple[float, float]]) -> Trend:
    """The trend of (time, value) pairs in the second half of their time (Theil-Sen)."""
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
