"""Slow clients: when is one dropped, and what do the others notice?

Two runs against each server.

The count: k of n clients stop reading, and events are published one at a time. For each slow
client the bytes that the system had taken of the server say how many whole messages had left
it; the server says with which event it dropped the client. Between the two lies what was
pending, and that must be exactly 256. Then the slow clients read on, and see a close code.

The others: the fast clients go on in a closed loop before, while and after k clients have
stopped reading. Their throughput and p99 must not change, and the server's memory must come
back to where it was.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.harness import (
    MemoryWatch,
    Options,
    Trouble,
    available,
    common_options,
    options,
    progress,
    subscribed,
    tell,
)
from bench.peers import PEERS, Peer
from bench.report import bytes_text, median, percentile, save, save_plot, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["count_pending", "main", "watch_the_others"]

# The queue that everybody promises.
_QUEUE = 256

# How long a slow client that reads on may take to see the end of it.
_RESUME_SECONDS = 3.0
# Resolution of the timeline.
_BIN_SECONDS = 0.1

_PHASES = ("before", "during", "after")


@click.command()
@click.option("-n", "--clients", default=100, show_default=True, help="Subscribers.")
@click.option("-k", "--slow", default=10, show_default=True, help="Those that stop reading.")
@click.option("-w", "--in-flight", default=8, show_default=True, help="In the closed loop.")
@click.option("--event-bytes", default=8000, show_default=True, help="In the count.")
@click.option("--fast-event-bytes", default=300, show_default=True, help="In the closed loop.")
@click.option("--most", default=3000, show_default=True, help="Events until a count is given up.")
@click.option("--plot/--no-plot", default=True)
@common_options(peers="ryze,gorilla", rounds=3, seconds=4.0)
def main(
    clients: int,
    slow: int,
    in_flight: int,
    event_bytes: int,
    fast_event_bytes: int,
    most: int,
    plot: bool,
    **common: Any,
) -> None:
    """When is a client that stops reading dropped, and what do the others notice?"""
    given = options(**common)
    if not 0 < slow < clients:
        raise click.UsageError("--slow: some must stop reading, and some must go on")
    counts: dict[str, dict[str, Any]] = {}
    others: dict[str, list[dict[str, Any]]] = {}
    peers = available(given.peers)
    with progress("slow clients", len(peers) * (1 + given.rounds)) as step:
        for peer in peers:
            step(f"{peer.title}, the count")
            try:
                counts[peer.name] = count_pending(
                    peer, clients, slow, event_bytes, most, given.port
                )
            except Trouble as trouble:
                tell(str(trouble))
        for _ in range(given.rounds):
            for peer in peers:
                step(f"{peer.title}, the others")
                try:
                    row = watch_the_others(peer, clients, slow, in_flight, fast_event_bytes, given)
                except Trouble as trouble:
                    tell(str(trouble))
                    continue
                others.setdefault(peer.name, []).append(row)
    _show_counts(counts)
    _show_others(slow, clients, others)
    parameters = {"clients": clients, "slow": slow, "in_flight": in_flight}
    save(
        given.output,
        "slow_clients",
        {**parameters, "event_bytes": event_bytes, **vars(given)},
        {"counts": counts, "others": others},
    )
    if plot and others:
        save_plot(given.output, "slow_clients", lambda axes: _draw(axes, others), 2)


# The count


def count_pending(
    peer: Peer, clients: int, slow: int, event_bytes: int, most: int, port: int = 0
) -> dict[str, Any]:
    """At which event, and with how many pending, was each slow client dropped?

    Raises:
        Trouble: it cannot be measured.
    """
    # Our server says in its HTTP answer to how many it has handed out; the others' programs
    # write a line.
    peer = PEERS["ryze-http"] if peer.name == "ryze" else peer
    with subscribed(peer, clients, event_bytes, port) as (server, load):
        load.call("stall", count=slow)
        result = load.call("overflow", stop_after=most)
        resumed = load.call("resume", seconds=_RESUME_SECONDS)
        drops = _drops_by_answers(result, clients) or _drops_by_lines(result, server.drops())
    return {
        "slow": slow,
        "clients": [
            {
                "dropped_by": drop,
                "taken": taken,
                "pending": drop - 1 - taken if drop is not None and taken is not None else None,
                "received": received,
                "close_code": code,
            }
            for (drop, taken), received, code in zip(
                drops, resumed["received"], resumed["close_codes"], strict=True
            )
        ],
    }


# For each slow client: the event that dropped it (the first one is 1), and how many whole
# messages its system had taken by then.
Drops = list[tuple[int | None, int | None]]


def _drops_by_answers(result: dict[str, Any], clients: int) -> Drops | None:
    """From how many clients each event was handed to, in the order in which they overflow.

    The answers do not say who was dropped. But the system has taken all that it takes long
    before, and so who had the fewest taken was dropped first.
    """
    answers = [clients, *result["clients"]]
    if answers[-1] is None:
        return None
    events: list[int | None] = []
    for place in range(1, len(answers)):
        events += [result["first"] + place] * (answers[place - 1] - answers[place])
    taken = [_taken_whole(result, port) for port in result["ports"]]
    order = sorted(range(len(taken)), key=lambda place: taken[place] or 0)
    events += [None] * (len(taken) - len(events))
    drops: Drops = [(None, None)] * len(taken)
    for place, event in zip(order, events, strict=False):
        drops[place] = event, taken[place]
    return drops


def _drops_by_lines(result: dict[str, Any], lines: dict[int, int]) -> Drops:
    """From what the program has written."""
    drops: Drops = []
    for port in result["ports"]:
        event = lines.get(port)
        index = None if event is None else event - result["first"] - 2
        drops.append((event, _taken_whole(result, port, index)))
    return drops


def _taken_whole(result: dict[str, Any], port: int, index: int | None = None) -> int | None:
    """Whole messages that the system had taken after that event, or after the last one known."""
    known = [taken[str(port)] for taken in result["taken"] if str(port) in taken]
    if not known:
        return None
    if index is not None and 0 <= index < len(known):
        return int(known[index] // result["frame_size"])
    return int(known[-1] // result["frame_size"])


def _show_counts(counts: dict[str, dict[str, Any]]) -> None:
    table = []
    for name, count in counts.items():
        rows = count["clients"]
        pending = [row["pending"] for row in rows if row["pending"] is not None]
        codes = sorted({str(row["close_code"]) for row in rows})
        exact = all(row["pending"] == _QUEUE for row in rows)
        table.append(
            (
                name,
                f"{sum(row['dropped_by'] is not None for row in rows)} of {count['slow']}",
                _span([row["dropped_by"] for row in rows]),
                _span([row["taken"] for row in rows]),
                _span(pending),
                "yes" if exact else "no",
                ", ".join(codes),
            )
        )
    columns = ("server", "dropped", "by event", "taken", "pending", f"exactly {_QUEUE}", "code")
    show("Clients that stopped reading", columns, table)


def _span(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    low, high = min(known), max(known)
    return str(low) if low == high else f"{low} - {high}"


# The others


def watch_the_others(
    peer: Peer, clients: int, slow: int, in_flight: int, event_bytes: int, given: Options
) -> dict[str, Any]:
    """The fast clients' throughput and latency, and the server's memory, over time.

    Raises:
        Trouble: it cannot be measured.
    """
    with subscribed(peer, clients, event_bytes, given.port) as (server, load):
        loop = {"seconds": given.seconds, "in_flight": in_flight}
        load.call("closed_loop", seconds=1.0, in_flight=in_flight)
        watch = MemoryWatch(server)
        watch.start()
        phases = {"before": load.measured("closed_loop", **loop)}
        stalled_at = load.call("stall", count=slow)["at"]
        phases["during"] = load.measured("closed_loop", **loop)
        resumed = load.call("resume", seconds=_RESUME_SECONDS)
        phases["after"] = load.measured("closed_loop", **loop)
        memory = watch.stop()
    begin = phases["before"]["begin"]
    return {
        "stalled_at": stalled_at - begin,
        "phases": {name: _phase(result, in_flight) for name, result in phases.items()},
        "timeline": [
            point for result in phases.values() for point in _timeline(result, begin, in_flight)
        ],
        "memory": [(at - begin, size) for at, size in memory],
        "close_codes": resumed["close_codes"],
    }


def _phase(result: dict[str, Any], in_flight: int) -> dict[str, float]:
    spans = _spans(result)
    seconds = result["end"] - result["begin"]
    return {
        "events_per_second": len(spans) * in_flight / seconds,
        "p99": percentile([end - start for start, end in spans], 0.99),
        "server_cpu": result["server_cpu"] / seconds,
        "load_cpu": result["load_cpu"] / seconds,
        "closed": result["closed"],
    }


def _timeline(
    result: dict[str, Any], begin: float, in_flight: int
) -> list[tuple[float, float, float]]:
    """For every tenth of a second: when, events a second, the slowest batch in seconds."""
    bins: dict[int, list[float]] = {}
    for start, end in _spans(result):
        bins.setdefault(int((end - begin) / _BIN_SECONDS), []).append(end - start)
    return [
        (place * _BIN_SECONDS, len(spans) * in_flight / _BIN_SECONDS, max(spans))
        for place, spans in sorted(bins.items())
    ]


def _spans(result: dict[str, Any]) -> list[tuple[float, float]]:
    return list(zip(result["spans"][::2], result["spans"][1::2], strict=True))


def _show_others(slow: int, clients: int, others: dict[str, list[dict[str, Any]]]) -> None:
    table = []
    for name, rounds in others.items():
        rate = {phase: _median_of(rounds, phase, "events_per_second") for phase in _PHASES}
        p99 = {phase: _median_of(rounds, phase, "p99") for phase in _PHASES}
        rises = [_memory_rise(each) for each in rounds]
        table.append(
            (
                name,
                *(f"{rate[phase]:,.0f}" for phase in _PHASES),
                f"{rate['during'] / rate['after']:.2f} x",
                *(f"{p99[phase] * 1e3:.2f}" for phase in _PHASES),
                f"{p99['during'] / p99['after']:.2f} x",
                bytes_text(median(peak for peak, _ in rises)),
                bytes_text(median(kept for _, kept in rises)),
            )
        )
    columns = ("server", *(f"{phase}, events/s" for phase in _PHASES), "during / after")
    columns += (*(f"{phase}, p99 ms" for phase in _PHASES), "during / after", "peak", "kept")
    show(f"The others while {slow} of {clients} do not read, medians", columns, table)


def _median_of(rounds: list[dict[str, Any]], phase: str, what: str) -> float:
    return median(each["phases"][phase][what] for each in rounds)


def _memory_rise(row: dict[str, Any]) -> tuple[float, float]:
    """How far memory has risen above what it was before, at most and at the end."""
    before = [size for at, size in row["memory"] if at < row["stalled_at"]]
    after = [size for at, size in row["memory"] if at >= row["stalled_at"]]
    return max(after) - max(before), after[-1] - max(before)


def _draw(axes: "Sequence[Axes]", others: dict[str, list[dict[str, Any]]]) -> None:
    for name, rounds in others.items():
        row = rounds[-1]
        times = [at for at, _, _ in row["timeline"]]
        (line,) = axes[0].plot(times, [rate for _, rate, _ in row["timeline"]], label=name)
        axes[0].axvline(row["stalled_at"], color=line.get_color(), linestyle=":")
        memory = [(at, size / 2**20) for at, size in row["memory"]]
        axes[1].plot(*zip(*memory, strict=True), label=name, color=line.get_color())
    axes[0].set_ylabel("events a second, fast clients")
    axes[0].set_ylim(bottom=0)
    axes[0].legend()
    axes[1].set_ylabel("resident memory, MiB")
    axes[1].set_xlabel("seconds (dotted: some stop reading)")


if __name__ == "__main__":
    main()
