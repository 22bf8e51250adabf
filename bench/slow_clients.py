"""Slow clients: when is one dropped, and what do the others notice?

Three runs against each server: how many messages are pending when a slow client is dropped
(exactly 256 are promised), how long until its socket and memory are given back (both in
`bench.dropping`), and throughput and p99 of the fast clients with and without slow ones (in
`bench.bystanders`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.eviction import count_pending, time_to_close
from bench.fast_clients import PHASES, median_of, watch_the_others
from bench.options import COUNT, EVENT_BYTES, available, common_options, option, options
from bench.peers import Peer
from bench.percentiles import median
from bench.progress import Trouble, progress, tell
from bench.report import bytes_text, save, save_plot, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main"]

# The queue that everybody promises.
_QUEUE = 256

Results = dict[str, dict[str, Any]]


@click.command()
@option("-n", "--clients", type=COUNT, default=100, help="Subscribers.")
@option("-k", "--slow", type=COUNT, default=10, help="Those of them that are slow.")
@option("--read-rate", type=click.FloatRange(0), default=0.0, help="Bytes/s a slow one reads.")
@option("-w", "--in-flight", type=COUNT, default=8, help="In the closed loop.")
@option("--event-bytes", type=EVENT_BYTES, default=8000, help="In the count.")
@option("--fast-event-bytes", type=EVENT_BYTES, default=300, help="In the closed loop.")
@option("--most", type=COUNT, default=2000, help="Events until a count is given up.")
@click.option("--plot/--no-plot", default=True)
@common_options(peers="ryze,gorilla,websockets,node-ws", rounds=2, seconds=4.0)
def main(
    clients: int,
    slow: int,
    read_rate: float,
    in_flight: int,
    event_bytes: int,
    fast_event_bytes: int,
    most: int,
    plot: bool,
    **common: Any,
) -> None:
    """When is a client that reads too slowly dropped, and what do the others notice?"""
    given = options(**common)
    if slow >= clients:
        raise click.UsageError("--slow: some must not be slow")
    # The count needs few fast clients: they only make each of its events slower.
    counted = (min(clients, 2 * slow), slow, read_rate, event_bytes, most, given.port)
    loop: dict[str, Any] = {
        "clients": clients,
        "slow": slow,
        "rate": read_rate,
        "in_flight": in_flight,
        "event_bytes": fast_event_bytes,
    }
    results = _measure(
        available(given.peers),
        {
            "counts": lambda peer: count_pending(peer, *counted),
            "closing": lambda peer: time_to_close(peer, *counted),
            "others": lambda peer: watch_the_others(peer, given, **loop),
        },
    )
    _show_counts(results["counts"])
    _show_closing(results["closing"])
    _show_others(slow, clients, results["others"])
    parameters = {**loop, "count_event_bytes": event_bytes, "most": most}
    save(given.output, "slow_clients", {**parameters, **vars(given)}, results)
    if plot and results["others"]:
        save_plot(given.output, "slow_clients", lambda axes: _draw(axes, results["others"]), 2)


def _measure(peers: list[Peer], runs: dict[str, Any]) -> dict[str, Results]:
    """Every run against every peer."""
    results: dict[str, Results] = {run: {} for run in runs}
    with progress("slow clients", len(peers) * len(runs)) as step:
        for run, measure in runs.items():
            for peer in peers:
                step(f"{run}, {peer.title}")
                try:
                    results[run][peer.name] = measure(peer)
                except Trouble as trouble:
                    tell(str(trouble))
    return results


def _show_counts(counts: Results) -> None:
    table = []
    for name, count in counts.items():
        rows = count["clients"]
        pending = [row["pending"] for row in rows]
        table.append(
            (
                name,
                f"{sum(row['dropped_by'] is not None for row in rows)} of {count['slow']}",
                _span([row["dropped_by"] for row in rows]),
                _span([row["taken"] for row in rows]),
                _span(pending),
                "yes" if set(pending) == {_QUEUE} else "no",
                ", ".join(sorted({str(row["close_code"]) for row in rows})),
            )
        )
    columns = ("server", "dropped", "by event", "taken", "pending", f"exactly {_QUEUE}", "code")
    show("Slow clients that are dropped, and then read on", columns, table)


def _show_closing(closing: Results) -> None:
    table = []
    for name, row in closing.items():
        known = [after for after in row["closed_after"] if after is not None]
        back = row["memory_back_after"]
        table.append(
            (
                name,
                f"{len(known)} of {len(row['closed_after'])}",
                f"{median(known) * 1e3:,.0f} ms" if known else "-",
                f"{max(known) * 1e3:,.0f} ms" if known else "-",
                bytes_text(row["memory_peak"]),
                "-" if back is None else f"{back:.2f} s",
                bytes_text(row["memory_kept"]),
            )
        )
    columns = ("server", "closed", "median", "last", "memory rose", "half back", "kept a wave")
    show("From the event that dropped them, if they never read on", columns, table)


def _show_others(slow: int, clients: int, others: Results) -> None:
    table = []
    for name, result in others.items():
        rounds = result["rounds"]
        gone = [each["gone_after"] for each in rounds]
        table.append(
            (
                name,
                *(f"{median_of(rounds, each, 'events_per_second'):,.0f}" for each in PHASES),
                f"{median(each['rate_ratio'] for each in rounds):.2f} x",
                *(f"{median_of(rounds, each, 'p99') * 1e3:.2f}" for each in PHASES),
                f"{median(each['p99_ratio'] for each in rounds):.2f} x",
                "never" if None in gone else f"{median(gone):.2f} s",
                f"{median_of(rounds, 'during', 'load_cpu'):.0%}",
            )
        )
    columns = ("server", *(f"{phase}, events/s" for phase in PHASES), "ratio")
    columns += (*(f"{phase}, p99 ms" for phase in PHASES), "ratio", "gone after", "load CPU")
    show(f"The others while {slow} of {clients} are slow, medians of rounds", columns, table)


def _span(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    low, high = min(known), max(known)
    return str(low) if low == high else f"{low} - {high}"


def _draw(axes: "Sequence[Axes]", others: Results) -> None:
    for name, result in others.items():
        times = [at for at, _, _ in result["timeline"]]
        (line,) = axes[0].plot(times, [rate for _, rate, _ in result["timeline"]], label=name)
        for begin, end in result["stalled"]:
            axes[0].axvspan(begin, end, color=line.get_color(), alpha=0.06)
        memory = [(at, size / 2**20) for at, size in result["memory"]]
        axes[1].plot(*zip(*memory, strict=True), label=name, color=line.get_color())
    axes[0].set_ylabel("events a second, fast clients")
    axes[0].set_yscale("log")
    axes[0].legend(ncols=4, fontsize="small")
    axes[1].set_ylabel("resident memory, MiB")
    axes[1].set_xlabel("seconds (shaded: with slow clients)")


if __name__ == "__main__":
    main()
