"""Latency: how long from publish to receipt, at a fixed rate?

An open loop: an event is due every 1/rate seconds, and its receipts are timed from that moment.
So a server that stalls is charged for all events that it delays. "Last" is the time until the
last subscriber has the event. All servers run at the same time and take turns, as in
`bench.fanout`.

The load generator's own lateness is part of every receipt that it times, so the p99 until the
last receipt is never smaller than the p99 of the lateness. A round in which the lateness is more
than half of it is not usable, and does not count.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from bench.errors import MeasurementError
from bench.load_generator.process import LoadGenerator, open_all_servers
from bench.options import (
    COUNT,
    EVENT_BYTES,
    POSITIVE,
    CommonOptions,
    common_options,
    installed_peers,
    option,
    parse_common_options,
    plot_option,
)
from bench.peers import RYZE
from bench.percentiles import median
from bench.progress import progress_bar, warn
from bench.report import format_ratio, print_table, save_plot, save_results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["is_usable", "main", "measure"]

Rounds = dict[str, list[dict[str, Any]]]

_WARM_UP_SECONDS = 1.0
_POINTS = ("p50", "p99", "p999")

# Largest usable lateness, as a share of the time until the last receipt.
_MAX_LATENESS = 0.5


@click.command()
@option("-n", "--clients", type=COUNT, default=500, help="Number of subscribers.")
@option("--rate", type=POSITIVE, default=200.0, help="Events per second.")
@option("--event-bytes", type=EVENT_BYTES, default=300, help="Size of an event.")
@plot_option
@common_options(peers="ryze,gorilla", rounds=9, seconds=3.0)
def main(clients: int, rate: float, event_bytes: int, plot: bool, **common: Any) -> None:
    """Latency: time from publish to receipt, at a fixed rate."""
    given = parse_common_options(**common)
    rounds = measure(given, clients, rate, event_bytes)
    _print_table(clients, rate, rounds)
    parameters = {"clients": clients, "rate": rate, "event_bytes": event_bytes}
    save_results(given.output, "latency", {**parameters, **vars(given)}, rounds)
    if plot:
        save_plot(given.output, "latency", lambda axes: _draw(axes, rounds))


def measure(given: CommonOptions, clients: int, rate: float, event_bytes: int) -> Rounds:
    """Measure all servers, in every round."""
    rounds: Rounds = {}
    peers = installed_peers(given.peers)
    with progress_bar("latency", given.rounds * len(peers)) as step, ExitStack() as stack:
        loads = open_all_servers(stack, peers, clients, event_bytes, given.port)
        for turn in range(given.rounds):
            # Every other round goes backwards, so that no server always runs first.
            for peer in list(loads)[:: 1 if turn % 2 == 0 else -1]:
                step(peer.title)
                try:
                    row = _measure_one(loads[peer], given.seconds, rate)
                except MeasurementError as error:
                    warn(str(error))
                    del loads[peer]
                    continue
                rounds.setdefault(peer.name, []).append(row)
    return rounds


def _measure_one(load: LoadGenerator, seconds: float, rate: float) -> dict[str, Any]:
    load.call("open_loop", seconds=_WARM_UP_SECONDS, rate=rate)
    row = load.measure("open_loop", seconds=seconds, rate=rate)
    return {**row, "usable": is_usable(row)}


def is_usable(row: dict[str, Any]) -> bool:
    """Return whether the load generator was punctual enough to time the server."""
    return bool(row["lateness"]["p99"] <= _MAX_LATENESS * row["last_receipts"]["p99"])


def _median_points(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    return {point: median(row[key][point] for row in rows) for point in _POINTS}


def _print_table(clients: int, rate: float, rounds: Rounds) -> None:
    columns = (
        *("server", "p50", "p99", "p99.9", "last p50", "last p99", "last p99.9"),
        *("Ryze/server", "server CPU", "load CPU", "lateness p99", "usable rounds"),
    )
    ryze = _last_p99(rounds.get(RYZE, []))
    table = [_format_row(name, rows, ryze) for name, rows in rounds.items()]
    title = (
        f"Publish to receipt in ms, {clients} subscribers, {rate:g} events/s; medians of rounds;"
        " Ryze/server compares last p99"
    )
    print_table(title, columns, table)


def _last_p99(rows: list[dict[str, Any]]) -> float:
    """Return the p99 until the last receipt, over usable rounds; 0 if there are none."""
    usable = [row for row in rows if row["usable"]]
    return _median_points(usable, "last_receipts")["p99"] if usable else 0.0


def _format_row(name: str, rows: list[dict[str, Any]], ryze: float) -> tuple[str, ...]:
    usable = [row for row in rows if row["usable"]]
    # A server without a usable round is shown, to see why, but not compared.
    shown = usable or rows
    values = [
        *_median_points(shown, "receipts").values(),
        *_median_points(shown, "last_receipts").values(),
    ]
    seconds = sum(row["end"] - row["begin"] for row in shown)
    return (
        name,
        *(f"{value * 1e3:.2f}" for value in values),
        format_ratio(ryze, _last_p99(rows)),
        f"{sum(row['server_cpu'] for row in shown) / seconds:.0%}",
        f"{sum(row['load_cpu'] for row in shown) / seconds:.0%}",
        f"{_median_points(shown, 'lateness')['p99'] * 1e3:.2f}",
        f"{len(usable)} of {len(rows)}" if usable else "NOT USABLE",
    )


def _draw(axes: "Sequence[Axes]", rounds: Rounds) -> None:
    for name, rows in rounds.items():
        usable = [row for row in rows if row["usable"]]
        if not usable:
            continue
        bins: Counter[float] = Counter()
        for row in usable:
            bins.update({float(edge): count for edge, count in row["histogram"].items()})
        edges = sorted(bins)
        total = sum(bins.values())
        shares = [bins[edge] / total for edge in edges]
        axes[0].step([edge * 1e3 for edge in edges], shares, where="pre", label=name)
    axes[0].set_xscale("log")
    axes[0].set_xlabel("publish to receipt, ms")
    axes[0].set_ylabel("share of receipts")
    axes[0].legend()


if __name__ == "__main__":
    main()
