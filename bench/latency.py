"""Latency: from publish to receipt at a fixed rate, however long the receipts take.

An open loop: an event is due every 1/rate seconds, and is timed from that moment, so that a
server that stalls is charged for all that it has delayed. "Last" is the time until the last of
all subscribers has the event. All servers are up and take turns, as in `bench.fanout`.

The load generator's own lateness is part of every receipt that it times, so that it must be
small: a round in which its p99 is more than half of the p99 until the last receipt does not
count. (That p99 cannot be smaller than the lateness; half is what can be told.)
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from bench.load_generator.process import open_all
from bench.options import (
    COUNT,
    EVENT_BYTES,
    POSITIVE,
    Options,
    available,
    common_options,
    option,
    options,
)
from bench.peers import OURS
from bench.percentiles import median
from bench.progress import Trouble, progress, tell
from bench.report import ratio_text, save, save_plot, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["is_usable", "main", "measure"]

Rows = dict[str, list[dict[str, Any]]]

_WARM_UP_SECONDS = 1.0
_POINTS = ("p50", "p99", "p999")

# The load generator may be late by this share of what is measured.
_MOST_LATE = 0.5


@click.command()
@option("-n", "--clients", type=COUNT, default=500, help="Subscribers.")
@option("--rate", type=POSITIVE, default=200.0, help="Events a second.")
@option("--event-bytes", type=EVENT_BYTES, default=300)
@click.option("--plot/--no-plot", default=True)
@common_options(peers="ryze,gorilla", rounds=9, seconds=3.0)
def main(clients: int, rate: float, event_bytes: int, plot: bool, **common: Any) -> None:
    """How long from publish to receipt, at a fixed rate?"""
    given = options(**common)
    rows = measure(given, clients, rate, event_bytes)
    _show(clients, rate, rows)
    parameters = {"clients": clients, "rate": rate, "event_bytes": event_bytes}
    save(given.output, "latency", {**parameters, **vars(given)}, rows)
    if plot:
        save_plot(given.output, "latency", lambda axes: _draw(axes, rows))


def measure(given: Options, clients: int, rate: float, event_bytes: int) -> Rows:
    """All rounds of all peers, in turn."""
    rows: Rows = {}
    peers = available(given.peers)
    with progress("latency", given.rounds * len(peers)) as step, ExitStack() as stack:
        opened = open_all(stack, peers, clients, event_bytes, given.port)
        for turn in range(given.rounds):
            for peer in list(opened)[:: 1 if turn % 2 == 0 else -1]:
                step(peer.title)
                load = opened[peer][1]
                try:
                    load.call("open_loop", seconds=_WARM_UP_SECONDS, rate=rate)
                    row = load.measured("open_loop", seconds=given.seconds, rate=rate)
                except Trouble as trouble:
                    tell(str(trouble))
                    del opened[peer]
                    continue
                rows.setdefault(peer.name, []).append({**row, "usable": is_usable(row)})
    return rows


def is_usable(row: dict[str, Any]) -> bool:
    """Was the server what was late, and not the load generator?"""
    return bool(row["lateness"]["p99"] <= _MOST_LATE * row["last_receipts"]["p99"])


def _summary(rounds: list[dict[str, Any]], what: str) -> dict[str, float]:
    return {point: median(each[what][point] for each in rounds) for point in _POINTS}


def _show(clients: int, rate: float, rows: Rows) -> None:
    columns = ("server", "p50", "p99", "p99.9", "last p50", "last p99", "last p99.9", "ours")
    ours = _last_p99(rows.get(OURS, []))
    table = [_line(name, rounds, ours) for name, rounds in rows.items()]
    title = f"Publish to receipt in ms, {clients} subscribers, {rate:g} events/s, medians"
    show(title, (*columns, "CPU", "load CPU", "late p99", "usable rounds"), table)


def _last_p99(rounds: list[dict[str, Any]]) -> float:
    """Of the rounds that count; 0 if there are none."""
    usable = [each for each in rounds if each["usable"]]
    return _summary(usable, "last_receipts")["p99"] if usable else 0.0


def _line(name: str, rounds: list[dict[str, Any]], ours: float) -> tuple[str, ...]:
    usable = [each for each in rounds if each["usable"]]
    # A row that is not usable is shown, so that one sees why, but compared with nothing.
    shown = usable or rounds
    values = [*_summary(shown, "receipts").values(), *_summary(shown, "last_receipts").values()]
    seconds = sum(each["end"] - each["begin"] for each in shown)
    return (
        name,
        *(f"{value * 1e3:.2f}" for value in values),
        ratio_text(ours, _last_p99(rounds)),
        f"{sum(each['server_cpu'] for each in shown) / seconds:.0%}",
        f"{sum(each['load_cpu'] for each in shown) / seconds:.0%}",
        f"{_summary(shown, 'lateness')['p99'] * 1e3:.2f}",
        f"{len(usable)} of {len(rounds)}" if usable else "NOT USABLE",
    )


def _draw(axes: "Sequence[Axes]", rows: Rows) -> None:
    for name, rounds in rows.items():
        usable = [each for each in rounds if each["usable"]]
        if not usable:
            continue
        bins: Counter[float] = Counter()
        for each in usable:
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
