"""Medians over rounds, and percentiles of latencies."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["median", "medians", "percentile", "percentiles"]


def median(values: Iterable[float]) -> float:
    """Return the median, which is the figure reported for several rounds."""
    return statistics.median(values)


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median over all rounds, per key."""
    return {name: median(each[name] for each in rounds) for name in rounds[0]}


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of all values lie."""
    ranked = sorted(values)
    return ranked[round((len(ranked) - 1) * share)]


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Return p50, p99, p999 and max, the percentiles reported for latencies."""
    ranked = sorted(values)
    points = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1}
    return {name: percentile(ranked, share) for name, share in points.items()}
