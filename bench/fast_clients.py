"""Fast clients beside stalled ones: their throughput and p99 before, during and after a stall.

The fast clients are connected all the time, in a closed loop. Phases with and without slow clients
alternate, and each phase with them is compared with the mean of its two neighbours, so that drift
of the machine cancels out. In a phase with slow clients, these connect before it begins, do not
read from its first event on, are evicted when their queue is full, and stay away until its end.
"""

from itertools import pairwise
from typing import Any

from bench.errors import MeasurementError
from bench.load_generator.process import LoadGenerator, open_server_with_load
from bench.options import CommonOptions
from bench.peers import Peer
from bench.percentiles import median, percentile
from bench.server_sampler import Sample, ServerSampler

__all__ = ["PHASES", "measure_fast_clients", "median_of_phase"]

PHASES = ("before", "during", "after")

# Resolution of the timeline.
_BIN_SECONDS = 0.1
_WARM_UP_SECONDS = 1.0


def measure_fast_clients(
    peer: Peer,
    given: CommonOptions,
    *,
    clients: int,
    slow: int,
    read_rate: float,
    in_flight: int,
    event_bytes: int,
) -> dict[str, Any]:
    """Measure rounds of before, during and after; one round's "after" is the next one's "before".

    Args:
        peer: the server.
        given: options; `seconds` is the length of a phase.
        clients: subscribers, the slow ones among them.
        slow: subscribers that are slow.
        read_rate: bytes per second that each of these reads.
        in_flight: events in flight in the closed loop.
        event_bytes: size of an event.

    Raises:
        MeasurementError: it cannot be measured.
    """
    with open_server_with_load(peer, clients - slow, event_bytes, given.port, spare=slow) as (
        server,
        load,
    ):
        loop = {"seconds": given.seconds, "in_flight": in_flight}
        load.call("closed_loop", seconds=_WARM_UP_SECONDS, in_flight=in_flight)
        with ServerSampler(server) as sampler:
            undisturbed = [load.measure("closed_loop", **loop)]
            stalled = []
            for _ in range(given.rounds):
                stalled.append(_measure_with_slow(load, sampler, slow, read_rate, loop))
                undisturbed.append(load.measure("closed_loop", **loop))
    if closed := sum(result["closed"] for result in [*undisturbed, *stalled]):
        raise MeasurementError(
            f"{peer.name}: {closed} fast clients were evicted; decrease --in-flight"
        )
    return _to_document(undisturbed, stalled, sampler.samples, in_flight)


def _measure_with_slow(
    load: LoadGenerator,
    sampler: ServerSampler,
    slow: int,
    read_rate: float,
    loop: dict[str, Any],
) -> dict[str, Any]:
    load.connect(slow, has_small_windows=True)
    sampler.ports = load.call("stall", count=slow, read_rate=read_rate)["ports"]
    result = load.measure("closed_loop", **loop)
    sampler.ports = []
    load.call("close_stalled")
    return result


def _to_document(
    undisturbed: list[dict[str, Any]],
    stalled: list[dict[str, Any]],
    samples: list[Sample],
    in_flight: int,
) -> dict[str, Any]:
    begin = undisturbed[0]["begin"]
    around = [_to_phase(result, in_flight) for result in undisturbed]
    every = sorted([*undisturbed, *stalled], key=lambda result: float(result["begin"]))
    return {
        "rounds": [
            {
                **_to_round(before, _to_phase(during, in_flight), after),
                "gone_after": _time_all_closed(during, samples),
            }
            for (before, after), during in zip(pairwise(around), stalled, strict=True)
        ],
        "stalled": [(each["begin"] - begin, each["end"] - begin) for each in stalled],
        "timeline": [point for each in every for point in _timeline(each, begin, in_flight)],
        "memory": [(sample.at - begin, sample.memory) for sample in samples],
    }


def _to_round(
    before: dict[str, float], during: dict[str, float], after: dict[str, float]
) -> dict[str, Any]:
    def ratio(key: str) -> float:
        return during[key] / ((before[key] + after[key]) / 2)

    return {
        "before": before,
        "during": during,
        "after": after,
        "rate_ratio": ratio("events_per_second"),
        "p99_ratio": ratio("p99"),
    }


def _to_phase(result: dict[str, Any], in_flight: int) -> dict[str, float]:
    batches = _batches(result)
    seconds = result["end"] - result["begin"]
    return {
        "events_per_second": len(batches) * in_flight / seconds,
        "p99": percentile([end - start for start, end in batches], 0.99),
        "server_cpu": result["server_cpu"] / seconds,
        "load_cpu": result["load_cpu"] / seconds,
    }


def _time_all_closed(during: dict[str, Any], samples: list[Sample]) -> float | None:
    """Return the time from the first unread event until the server has closed all slow clients."""
    inside = [sample for sample in samples if during["begin"] <= sample.at <= during["end"]]
    closed = [sample.at for sample in inside if not sample.connected]
    return closed[0] - float(during["begin"]) if closed else None


def _timeline(
    result: dict[str, Any], begin: float, in_flight: int
) -> list[tuple[float, float, float]]:
    """Return time, events per second and the slowest batch in seconds, per tenth of a second."""
    bins: dict[int, list[float]] = {}
    for start, end in _batches(result):
        bins.setdefault(int((end - begin) / _BIN_SECONDS), []).append(end - start)
    return [
        (place * _BIN_SECONDS, len(durations) * in_flight / _BIN_SECONDS, max(durations))
        # The first and the last bin are only partly inside the phase.
        for place, durations in sorted(bins.items())[1:-1]
    ]


def _batches(result: dict[str, Any]) -> list[tuple[float, float]]:
    """Return begin and end of each batch of events."""
    return list(zip(result["batch_times"][::2], result["batch_times"][1::2], strict=True))


def median_of_phase(rounds: list[dict[str, Any]], phase: str, key: str) -> float:
    """Return the median of a phase's figure over all rounds."""
    return median(each[phase][key] for each in rounds)
