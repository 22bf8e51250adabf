"""Fan-out: how many deliveries per second to n subscribers, with w events in flight?

A closed loop: the next w events are published when all n subscribers have received the last
ones. All servers run at the same time, each with its own subscribers, and take turns of half a
second, so that all of them meet the same noise. A server is idle when it is not its turn.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from bench.errors import MeasurementError
from bench.load_generator.process import LoadGenerator, open_all_servers
from bench.options import (
    EVENT_BYTES,
    CommonOptions,
    common_options,
    installed_peers,
    option,
    parse_common_options,
    parse_counts,
    plot_option,
)
from bench.peers import RYZE, Peer
from bench.percentiles import medians, percentile
from bench.progress import progress_bar, warn
from bench.report import format_ratio, print_table, save_plot, save_results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main", "measure"]

# One measurement: name of the server, n, w.
Cell = tuple[str, int, int]
Rounds = dict[Cell, list[dict[str, float]]]
Summary = dict[Cell, dict[str, float]]

_WARM_UP_SECONDS = 0.1


@click.command()
@option("-n", "--clients", callback=parse_counts, default="10,100,1000", help="Subscribers (n).")
@option(
    "-w",
    "--in-flight",
    callback=parse_counts,
    default="1,8,64",
    help="Events in flight (w).",
)
@option("--event-bytes", type=EVENT_BYTES, default=300, help="Size of an event.")
@plot_option
@common_options(peers="ryze,gorilla,c", rounds=15, seconds=0.5)
def main(
    clients: list[int], in_flight: list[int], event_bytes: int, plot: bool, **common: Any
) -> None:
    """Fan-out: deliveries per second to n subscribers, with w events in flight."""
    given = parse_common_options(**common)
    rounds = measure(given, clients, in_flight, event_bytes)
    summary = {cell: medians(rows) for cell, rows in rounds.items()}
    _print_table(summary)
    parameters = {"clients": clients, "in_flight": in_flight, "event_bytes": event_bytes}
    results = [
        {"server": name, "clients": n, "in_flight": w, **summary[name, n, w], "rounds": rows}
        for (name, n, w), rows in rounds.items()
    ]
    save_results(given.output, "fanout", {**parameters, **vars(given)}, results)
    if plot:
        save_plot(
            given.output,
            "fanout",
            lambda axes: _draw(axes, summary, clients, in_flight),
            panels=len(clients),
        )


def measure(
    given: CommonOptions, clients: list[int], in_flight: list[int], event_bytes: int
) -> Rounds:
    """Measure all cells of the grid, in every round."""
    peers = installed_peers(given.peers)
    rounds: Rounds = defaultdict(list)
    steps = len(clients) * given.rounds * len(in_flight) * len(peers)
    with progress_bar("fan-out", steps) as step:
        for n in clients:
            with ExitStack() as stack:
                loads = open_all_servers(stack, peers, n, event_bytes, given.port)
                for turn, w in product(range(given.rounds), in_flight):
                    # Every other round goes backwards, so that no server always runs first.
                    for peer in list(loads)[:: 1 if turn % 2 == 0 else -1]:
                        step(f"n={n}, w={w}, {peer.title}")
                        _measure_one(peer, loads, n, w, given.seconds, rounds)
    return rounds


def _measure_one(
    peer: Peer, loads: dict[Peer, LoadGenerator], n: int, w: int, seconds: float, rounds: Rounds
) -> None:
    """Measure one cell once; leave the server out from now on if that fails."""
    try:
        loads[peer].call("closed_loop", seconds=_WARM_UP_SECONDS, in_flight=w)
        result = loads[peer].measure("closed_loop", seconds=seconds, in_flight=w)
    except MeasurementError as error:
        warn(str(error))
        del loads[peer]
        return
    if result["closed"]:
        warn(f"{peer.name}: n={n}, w={w}: left out, it closed {result['closed']} subscribers")
        del loads[peer]
        return
    rounds[peer.name, n, w].append(_to_row(result))


def _to_row(result: dict[str, Any]) -> dict[str, float]:
    seconds = result["end"] - result["begin"]
    starts, ends = result["batch_times"][::2], result["batch_times"][1::2]
    durations = [end - start for start, end in zip(starts, ends, strict=True)]
    return {
        "deliveries_per_second": result["deliveries"] / seconds,
        "server_cpu_us_per_delivery": result["server_cpu"] / result["deliveries"] * 1e6,
        "server_cpu": result["server_cpu"] / seconds,
        "load_cpu": result["load_cpu"] / seconds,
        "decoded": result["decoded"],
        "p50": percentile(durations, 0.5),
        "p99": percentile(durations, 0.99),
    }


def _print_table(summary: Summary) -> None:
    columns = (
        *("server", "n", "w", "deliveries/s", "Ryze/server", "CPU us/delivery"),
        *("server CPU", "load CPU", "p50 ms", "p99 ms"),
    )
    rows = []
    for name, n, w in sorted(summary, key=lambda cell: (cell[1], cell[2])):
        row = summary[name, n, w]
        ryze = summary.get((RYZE, n, w), {}).get("deliveries_per_second", 0)
        rows.append(
            (
                name,
                str(n),
                str(w),
                f"{row['deliveries_per_second']:,.0f}",
                format_ratio(ryze, row["deliveries_per_second"]),
                f"{row['server_cpu_us_per_delivery']:.2f}",
                f"{row['server_cpu']:.0%}",
                f"{row['load_cpu']:.0%}",
                f"{row['p50'] * 1e3:.2f}",
                f"{row['p99'] * 1e3:.2f}",
            )
        )
    print_table("Fan-out to n subscribers, w events in flight; medians of rounds", columns, rows)


def _draw(
    axes: "Sequence[Axes]", summary: Summary, clients: list[int], in_flight: list[int]
) -> None:
    names = list(dict.fromkeys(name for name, _, _ in summary))
    width = 0.8 / len(names)
    for axis, n in zip(axes, clients, strict=True):
        for place, name in enumerate(names):
            cells = [(w, summary.get((name, n, value))) for w, value in enumerate(in_flight)]
            places = [w + place * width for w, row in cells if row]
            values = [row["deliveries_per_second"] for _, row in cells if row]
            axis.bar(places, values, width, label=name)
        axis.set_yscale("log")
        axis.set_xticks([w + 0.4 - width / 2 for w in range(len(in_flight))])
        axis.set_xticklabels([f"w = {w}" for w in in_flight])
        axis.set_title(f"{n} subscribers")
        axis.set_ylabel("deliveries per second")
    axes[0].legend(ncols=4, fontsize="small")


if __name__ == "__main__":
    main()
