"""What is quoted of many values."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["median", "medians", "percentile", "percentiles"]


def median(values: Iterable[float]) -> float:
    """The median; what is quoted of several rounds."""
    return statistics.median(values)


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: median(each[name] for each in rounds) for name in rounds[0]}


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` of all lie, 0 to 1."""
    ranked = sorted(values)
    return ranked[round((len(ranked) - 1) * share)]


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Those that are quoted of latencies: p50, p99, p999 and max."""
    ranked = sorted(values)
    points = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1}
    return {name: percentile(ranked, share) for name, share in points.items()}
