"""Slow clients: when is one evicted, and do the fast clients notice?

Three measurements per server. How many messages are pending when a slow client is evicted (256 is
promised), and how long until its socket and memory are released: both in `bench.eviction`.
Throughput and p99 of the fast clients with and without slow ones: in `bench.fast_clients`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.errors import MeasurementError
from bench.eviction import EvictionOptions, count_pending, time_release
from bench.fast_clients import PHASES, measure_fast_clients, median_of_phase
from bench.options import (
    COUNT,
    EVENT_BYTES,
    common_options,
    installed_peers,
    option,
    parse_common_options,
    plot_option,
)
from bench.peers import Peer
from bench.percentiles import median
from bench.progress import progress_bar, warn
from bench.report import format_bytes, print_table, save_plot, save_results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main", "measure"]

# Messages that every server queues per subscriber.
_QUEUE_SIZE = 256

# By the name of the server.
Results = dict[str, dict[str, Any]]


@click.command()
@option("-n", "--clients", type=COUNT, default=100, help="Number of subscribers, slow ones too.")
@option("-k", "--slow", type=COUNT, default=10, help="Number of them that are slow.")
@option(
    "--read-rate", type=click.FloatRange(0), default=0.0, help="Bytes/s that a slow client reads."
)
@option("-w", "--in-flight", type=COUNT, default=8, help="Events in flight in the closed loop.")
@option("--event-bytes", type=EVENT_BYTES, default=8000, help="Size of an event that fills queues.")
@option(
    "--fast-event-bytes", type=EVENT_BYTES, default=300, help="Size of an event in the closed loop."
)
@option("--most", type=COUNT, default=2000, help="Events after which filling queues is given up.")
@plot_option
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
    """Slow clients: when they are evicted, and what the fast clients notice."""
    given = parse_common_options(**common)
    if slow >= clients:
        raise click.UsageError(f"--slow must be less than --clients, got {slow} of {clients}")
    # Fast clients only make each event slower here, so that few of them are enough.
    eviction = EvictionOptions(
        min(clients, 2 * slow), slow, read_rate, event_bytes, most, given.port
    )
    loop: dict[str, Any] = {
        "clients": clients,
        "slow": slow,
        "in_flight": in_flight,
        "event_bytes": fast_event_bytes,
    }
    results = measure(
        installed_peers(given.peers),
        {
            "counts": lambda peer: count_pending(peer, eviction),
            "closing": lambda peer: time_release(peer, eviction),
            "others": lambda peer: measure_fast_clients(peer, given, read_rate=read_rate, **loop),
        },
    )
    _print_pending(results["counts"])
    _print_release(results["closing"])
    _print_fast_clients(slow, clients, results["others"])
    parameters = {**loop, "rate": read_rate, "count_event_bytes": event_bytes, "most": most}
    save_results(given.output, "slow_clients", {**parameters, **vars(given)}, results)
    if plot and results["others"]:
        save_plot(given.output, "slow_clients", lambda axes: _draw(axes, results["others"]), 2)


def measure(
    peers: list[Peer], measurements: dict[str, Callable[[Peer], dict[str, Any]]]
) -> dict[str, Results]:
    """Make all measurements of all servers."""
    results: dict[str, Results] = {name: {} for name in measurements}
    with progress_bar("slow clients", len(peers) * len(measurements)) as step:
        for name, measure_one in measurements.items():
            for peer in peers:
                step(f"{name}, {peer.title}")
                try:
                    results[name][peer.name] = measure_one(peer)
                except MeasurementError as error:
                    warn(str(error))
    return results


def _print_pending(counts: Results) -> None:
    rows = []
    for name, count in counts.items():
        clients = count["clients"]
        pending = [client["pending"] for client in clients]
        rows.append(
            (
                name,
                f"{sum(each['dropped_by'] is not None for each in clients)} of {count['slow']}",
                _format_range([client["dropped_by"] for client in clients]),
                _format_range([client["taken"] for client in clients]),
                _format_range(pending),
                "yes" if set(pending) == {_QUEUE_SIZE} else "no",
                ", ".join(sorted({str(client["close_code"]) for client in clients})),
            )
        )
    columns = (
        *("server", "evicted", "by event", "taken by the system", "pending"),
        *(f"exactly {_QUEUE_SIZE}", "close code"),
    )
    print_table("Slow clients that read on after their eviction", columns, rows)


def _print_release(closing: Results) -> None:
    rows = []
    for name, row in closing.items():
        known = [after for after in row["closed_after"] if after is not None]
        released = row["memory_back_after"]
        rows.append(
            (
                name,
                f"{len(known)} of {len(row['closed_after'])}",
                f"{median(known) * 1e3:,.0f} ms" if known else "-",
                f"{max(known) * 1e3:,.0f} ms" if known else "-",
                format_bytes(row["memory_peak"]),
                "-" if released is None else f"{released:.2f} s",
                format_bytes(row["memory_kept"]),
            )
        )
    columns = (
        *("server", "closed", "median after", "last after", "memory growth"),
        *("half released after", "kept per wave"),
    )
    print_table("Slow clients that never read on; times from the evicting event", columns, rows)


def _print_fast_clients(slow: int, clients: int, others: Results) -> None:
    rows = []
    for name, result in others.items():
        rounds = result["rounds"]
        closed = [each["gone_after"] for each in rounds]
        rows.append(
            (
                name,
                *(f"{median_of_phase(rounds, each, 'events_per_second'):,.0f}" for each in PHASES),
                f"{median(each['rate_ratio'] for each in rounds):.2f} x",
                *(f"{median_of_phase(rounds, each, 'p99') * 1e3:.2f}" for each in PHASES),
                f"{median(each['p99_ratio'] for each in rounds):.2f} x",
                "never" if None in closed else f"{median(closed):.2f} s",
                f"{median_of_phase(rounds, 'during', 'load_cpu'):.0%}",
            )
        )
    columns = (
        *("server", "events/s before", "during", "after", "ratio"),
        *("p99 ms before", "during", "after", "ratio"),
        *("slow ones closed after", "load CPU"),
    )
    title = f"Fast clients while {slow} of {clients} clients are slow; medians of rounds"
    print_table(title, columns, rows)


def _format_range(values: Sequence[int | None]) -> str:
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
    axes[0].set_ylabel("events per second, fast clients")
    axes[0].set_yscale("log")
    axes[0].legend(ncols=4, fontsize="small")
    axes[1].set_ylabel("resident memory, MiB")
    axes[1].set_xlabel("seconds (shaded: with slow clients)")


if __name__ == "__main__":
    main()
