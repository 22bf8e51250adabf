"""Fan-out: deliveries a second to n subscribers with w events in flight, ours against others.

A closed loop: the next w events are published when all n have received the last. All servers
are up, each with its own subscribers, and take turns of half a second, so that all meet the
same noise; those whose turn it is not do nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from typing import TYPE_CHECKING, Any

import click

from bench.load_generator.process import LoadGenerator, open_all
from bench.options import EVENT_BYTES, Options, available, common_options, counts, option, options
from bench.peers import OURS, Peer
from bench.percentiles import medians, percentile
from bench.progress import Trouble, progress, tell
from bench.report import ratio_text, save, save_plot, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main", "measure"]

# One measurement: name of the server, n, w.
Cell = tuple[str, int, int]
Rows = dict[Cell, list[dict[str, float]]]

_WARM_UP_SECONDS = 0.1


@click.command()
@option("-n", "--clients", callback=counts, default="10,100,1000", help="Subscribers.")
@option("-w", "--in-flight", callback=counts, default="1,8,64", help="Events in flight.")
@option("--event-bytes", type=EVENT_BYTES, default=300)
@click.option("--plot/--no-plot", default=True)
@common_options(peers="ryze,gorilla,c", rounds=15, seconds=0.5)
def main(
    clients: list[int], in_flight: list[int], event_bytes: int, plot: bool, **common: Any
) -> None:
    """How many deliveries a second to n subscribers, with w events in flight?"""
    given = options(**common)
    rows = measure(given, clients, in_flight, event_bytes)
    summary = {cell: medians(rounds) for cell, rounds in rows.items()}
    _show(summary)
    parameters = {"clients": clients, "in_flight": in_flight, "event_bytes": event_bytes}
    results = [
        {"server": name, "clients": n, "in_flight": w, **summary[name, n, w], "rounds": rounds}
        for (name, n, w), rounds in rows.items()
    ]
    save(given.output, "fanout", {**parameters, **vars(given)}, results)
    if plot:
        save_plot(
            given.output,
            "fanout",
            lambda axes: _draw(axes, summary, clients, in_flight),
            panels=len(clients),
        )


def measure(given: Options, clients: list[int], in_flight: list[int], event_bytes: int) -> Rows:
    """All cells of the grid, each in every round."""
    peers = available(given.peers)
    rows: Rows = defaultdict(list)
    steps = len(clients) * given.rounds * len(in_flight) * len(peers)
    with progress("fan-out", steps) as step:
        for n in clients:
            with ExitStack() as stack:
                opened = open_all(stack, peers, n, event_bytes, given.port)
                loads = {peer: load for peer, (_, load) in opened.items()}
                for turn, w in product(range(given.rounds), in_flight):
                    # Whoever comes first in one round comes last in the next.
                    for peer in list(loads)[:: 1 if turn % 2 == 0 else -1]:
                        step(f"n={n}, w={w}, {peer.title}")
                        _measure_one(peer, loads, n, w, given.seconds, rows)
    return rows


def _measure_one(
    peer: Peer, loads: dict[Peer, LoadGenerator], n: int, w: int, seconds: float, rows: Rows
) -> None:
    try:
        loads[peer].call("closed_loop", seconds=_WARM_UP_SECONDS, in_flight=w)
        result = loads[peer].measured("closed_loop", seconds=seconds, in_flight=w)
    except Trouble as trouble:
        tell(str(trouble))
        del loads[peer]
        return
    if result["closed"]:
        tell(f"{peer.name}: n={n}, w={w}: {result['closed']} clients were dropped: left out")
        del loads[peer]
        return
    rows[peer.name, n, w].append(_row(result))


def _row(result: dict[str, Any]) -> dict[str, float]:
    seconds = result["end"] - result["begin"]
    starts, ends = result["spans"][::2], result["spans"][1::2]
    spans = [end - start for start, end in zip(starts, ends, strict=True)]
    return {
        "deliveries_per_second": result["deliveries"] / seconds,
        "server_cpu_us_per_delivery": result["server_cpu"] / result["deliveries"] * 1e6,
        "server_cpu": result["server_cpu"] / seconds,
        "load_cpu": result["load_cpu"] / seconds,
        "decoded": result["decoded"],
        "p50": percentile(spans, 0.5),
        "p99": percentile(spans, 0.99),
    }


def _show(summary: dict[Cell, dict[str, float]]) -> None:
    columns = ("server", "n", "w", "deliveries/s", "ours", "CPU us", "CPU", "load CPU")
    rows = []
    for name, n, w in sorted(summary, key=lambda cell: (cell[1], cell[2])):
        row = summary[name, n, w]
        ours = summary.get((OURS, n, w), {}).get("deliveries_per_second", 0)
        rows.append(
            (
                name,
                str(n),
                str(w),
                f"{row['deliveries_per_second']:,.0f}",
                ratio_text(ours, row["deliveries_per_second"]),
                f"{row['server_cpu_us_per_delivery']:.2f}",
                f"{row['server_cpu']:.0%}",
                f"{row['load_cpu']:.0%}",
                f"{row['p50'] * 1e3:.2f}",
                f"{row['p99'] * 1e3:.2f}",
            )
        )
    show("Fan-out, medians", (*columns, "p50 ms", "p99 ms"), rows)


def _draw(
    axes: "Sequence[Axes]",
    summary: dict[Cell, dict[str, float]],
    clients: list[int],
    in_flight: list[int],
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
        axis.set_ylabel("deliveries a second")
    axes[0].legend(ncols=4, fontsize="small")


if __name__ == "__main__":
    main()
