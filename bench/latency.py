"""Latency: from publish to receipt at a fixed rate, however long the receipts take.

An open loop: an event is due every 1/rate seconds, and is timed from that moment, so that a
server that stalls is charged for all that it has delayed. "Last" is the time until the last of
all subscribers has the event.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.harness import (
    Options,
    Trouble,
    available,
    common_options,
    options,
    progress,
    subscribed,
    tell,
)
from bench.peers import OURS, Peer
from bench.report import median, ratio_text, save, save_plot, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main", "measure"]

Rows = dict[str, list[dict[str, Any]]]

_WARM_UP_SECONDS = 1.0
_POINTS = ("p50", "p99", "p999")


@click.command()
@click.option("-n", "--clients", default=500, show_default=True, help="Subscribers.")
@click.option("--rate", default=200.0, show_default=True, help="Events a second.")
@click.option("--event-bytes", default=300, show_default=True)
@click.option("--plot/--no-plot", default=True)
@common_options(peers="ryze,gorilla", rounds=5, seconds=5.0)
def main(clients: int, rate: float, event_bytes: int, plot: bool, **common: Any) -> None:
    """How long from publish to receipt, at a fixed rate?"""
    given = options(**common)
    rows = measure(given, clients, rate, event_bytes)
    _show(clients, rate, rows)
    parameters = {"clients": clients, "rate": rate, "event_bytes": event_bytes}
    save(given.output, "latency", {**parameters, **vars(given)}, rows)
    if plot and rows:
        save_plot(given.output, "latency", lambda axes: _draw(axes, rows))


def measure(given: Options, clients: int, rate: float, event_bytes: int) -> Rows:
    """All rounds of all peers, in turn."""
    rows: Rows = {}
    peers = available(given.peers)
    with progress("latency", given.rounds * len(peers)) as step:
        for turn in range(given.rounds):
            for peer in peers if turn % 2 == 0 else peers[::-1]:
                step(peer.title)
                try:
                    row = _measure_one(peer, clients, rate, event_bytes, given)
                except Trouble as trouble:
                    tell(str(trouble))
                    continue
                rows.setdefault(peer.name, []).append(row)
    return rows


def _measure_one(
    peer: Peer, clients: int, rate: float, event_bytes: int, given: Options
) -> dict[str, Any]:
    with subscribed(peer, clients, event_bytes, given.port) as (_, load):
        load.call("open_loop", seconds=_WARM_UP_SECONDS, rate=rate)
        return load.measured("open_loop", seconds=given.seconds, rate=rate)


def _summary(rounds: list[dict[str, Any]], what: str) -> dict[str, float]:
    return {point: median(each[what][point] for each in rounds) for point in _POINTS}


def _show(clients: int, rate: float, rows: Rows) -> None:
    columns = ["server", "p50", "p99", "p99.9", "last p50", "last p99", "last p99.9", "ours"]
    table = []
    ours = _summary(rows[OURS], "last_receipts")["p99"] if OURS in rows else 0.0
    for name, rounds in rows.items():
        last = _summary(rounds, "last_receipts")
        values = [*_summary(rounds, "receipts").values(), *last.values()]
        seconds = sum(each["end"] - each["begin"] for each in rounds)
        table.append(
            (
                name,
                *(f"{value * 1e3:.2f}" for value in values),
                ratio_text(ours, last["p99"]),
                f"{sum(each['server_cpu'] for each in rounds) / seconds:.0%}",
                f"{sum(each['load_cpu'] for each in rounds) / seconds:.0%}",
                f"{_summary(rounds, 'lateness')['p99'] * 1e3:.2f}",
            )
        )
    title = f"Publish to receipt in ms, {clients} subscribers, {rate:g} events/s, medians"
    show(title, (*columns, "CPU", "load CPU", "late p99"), table)


def _draw(axes: "Sequence[Axes]", rows: Rows) -> None:
    for name, rounds in rows.items():
        bins: Counter[float] = Counter()
        for each in rounds:
            bins.update({float(edge): count for edge, count in each["histogram"].items()})
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
