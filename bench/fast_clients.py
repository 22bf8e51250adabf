"""What do the fast clients notice while others do not read?

The fast ones are there all the time, in a closed loop. Phases without slow clients and phases
with them take turns, and each phase with is compared with the mean of the two around it: what
drifts on the machine takes no part in that ratio. In a phase with, slow clients connect before
it begins, do not read from its first event on, are dropped when their queue is full, and are
gone for the rest of it. The others know nothing of them.
"""

from itertools import pairwise
from typing import Any

from bench.load_generator.process import LoadGenerator, subscribed
from bench.options import Options
from bench.peers import Peer
from bench.percentiles import median, percentile
from bench.progress import Trouble
from bench.server_sampler import Look, Watch

__all__ = ["PHASES", "median_of", "watch_the_others"]

PHASES = ("before", "during", "after")

# Resolution of the timeline.
_BIN_SECONDS = 0.1
_WARM_UP_SECONDS = 1.0


def watch_the_others(
    peer: Peer,
    given: Options,
    *,
    clients: int,
    slow: int,
    rate: float,
    in_flight: int,
    event_bytes: int,
) -> dict[str, Any]:
    """Rounds of before, during and after; the "after" of one is the "before" of the next.

    Raises:
        Trouble: it cannot be measured.
    """
    with subscribed(peer, clients - slow, event_bytes, given.port, more=slow) as (server, load):
        loop = {"seconds": given.seconds, "in_flight": in_flight}
        load.call("closed_loop", seconds=_WARM_UP_SECONDS, in_flight=in_flight)
        with Watch(server) as watch:
            quiet = [load.measured("closed_loop", **loop)]
            stalled = []
            for _ in range(given.rounds):
                stalled.append(_with_slow_clients(load, watch, slow, rate, loop))
                quiet.append(load.measured("closed_loop", **loop))
    if lost := sum(result["closed"] for result in [*quiet, *stalled]):
        raise Trouble(f"{peer.name}: {lost} fast clients were dropped: take fewer --in-flight")
    return _document(quiet, stalled, watch.looks, in_flight)


def _with_slow_clients(
    load: LoadGenerator, watch: Watch, slow: int, rate: float, loop: dict[str, Any]
) -> dict[str, Any]:
    load.connect(slow, narrow=True)
    stall = load.call("stall", count=slow, read_rate=rate)
    watch.ports = stall["ports"]
    result = load.measured("closed_loop", **loop)
    watch.ports = []
    load.call("dismiss")
    return result


def _document(
    quiet: list[dict[str, Any]],
    stalled: list[dict[str, Any]],
    looks: list[Look],
    in_flight: int,
) -> dict[str, Any]:
    begin = quiet[0]["begin"]
    calm = [_phase(result, in_flight) for result in quiet]
    every = sorted([*quiet, *stalled], key=lambda result: float(result["begin"]))
    return {
        "rounds": [
            {
                **_round(before, _phase(during, in_flight), after),
                "gone_after": _gone_after(during, looks),
            }
            for (before, after), during in zip(pairwise(calm), stalled, strict=True)
        ],
        "stalled": [(each["begin"] - begin, each["end"] - begin) for each in stalled],
        "timeline": [point for each in every for point in _timeline(each, begin, in_flight)],
        "memory": [(look.at - begin, look.memory) for look in looks],
    }


def _round(
    before: dict[str, float], during: dict[str, float], after: dict[str, float]
) -> dict[str, Any]:
    def ratio(what: str) -> float:
        return during[what] / ((before[what] + after[what]) / 2)

    return {
        "before": before,
        "during": during,
        "after": after,
        "rate_ratio": ratio("events_per_second"),
        "p99_ratio": ratio("p99"),
    }


def _phase(result: dict[str, Any], in_flight: int) -> dict[str, float]:
    spans = _spans(result)
    seconds = result["end"] - result["begin"]
    return {
        "events_per_second": len(spans) * in_flight / seconds,
        "p99": percentile([end - start for start, end in spans], 0.99),
        "server_cpu": result["server_cpu"] / seconds,
        "load_cpu": result["load_cpu"] / seconds,
    }


def _gone_after(during: dict[str, Any], looks: list[Look]) -> float | None:
    """From the first event that they did not read until the server had closed all of them."""
    inside = [look for look in looks if during["begin"] <= look.at <= during["end"]]
    gone = [look.at for look in inside if not look.connected]
    return gone[0] - float(during["begin"]) if gone else None


def _timeline(
    result: dict[str, Any], begin: float, in_flight: int
) -> list[tuple[float, float, float]]:
    """For every tenth of a second: when, events a second, the slowest batch in seconds."""
    bins: dict[int, list[float]] = {}
    for start, end in _spans(result):
        bins.setdefault(int((end - begin) / _BIN_SECONDS), []).append(end - start)
    return [
        (place * _BIN_SECONDS, len(spans) * in_flight / _BIN_SECONDS, max(spans))
        # The first and the last are not full.
        for place, spans in sorted(bins.items())[1:-1]
    ]


def _spans(result: dict[str, Any]) -> list[tuple[float, float]]:
    return list(zip(result["spans"][::2], result["spans"][1::2], strict=True))


def median_of(rounds: list[dict[str, Any]], phase: str, what: str) -> float:
    """Of all rounds."""
    return median(each[phase][what] for each in rounds)
