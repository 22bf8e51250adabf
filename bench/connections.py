"""Idle connections: memory for each, how fast they come, and all of them back at once.

The server's resident memory is taken before the first connection, with all of them up, and
after they were reset, as a failing network would, and have all come back in the same moment.
What the kernel holds for a connection is not in it.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.generator import LoadGenerator, load_generator
from bench.machine import raise_file_limit
from bench.notes import Trouble, progress, tell
from bench.options import available, common_options, options
from bench.peers import Peer
from bench.report import bytes_text, median, save, save_plot, show
from bench.servers import Server, running

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main", "measure_one"]

_SHORT_CLIENTS = 1000
_SETTLE_SECONDS = 1.0


@click.command()
@click.option("-n", "--clients", default=8000, show_default=True, help="Connections.")
@click.option("--plot/--no-plot", default=True)
@common_options(peers="ryze,gorilla", rounds=3, seconds=0)
def main(clients: int, plot: bool, **common: Any) -> None:
    """What does an idle connection take, and what if all come back at once?"""
    given = options(**common)
    if common["short"]:
        clients = min(clients, _SHORT_CLIENTS)
    rows: dict[str, list[dict[str, float]]] = {}
    peers = available(given.peers)
    with progress("connections", given.rounds * len(peers)) as step:
        for _ in range(given.rounds):
            for peer in peers:
                step(peer.title)
                try:
                    rows.setdefault(peer.name, []).append(measure_one(peer, clients, given.port))
                except Trouble as trouble:
                    tell(str(trouble))
    summary = {name: _summary(rounds) for name, rounds in rows.items() if rounds}
    _show(clients, summary)
    save(given.output, "connections", {"clients": clients, **vars(given)}, rows)
    if plot and summary:
        save_plot(given.output, "connections", lambda axes: _draw(axes, summary))


def measure_one(peer: Peer, clients: int, port: int = 0) -> dict[str, float]:
    """One server, from its start.

    Raises:
        Trouble: it cannot be measured.
    """
    raise_file_limit(clients)
    with running(peer, port) as server, load_generator(server) as load:
        # What is loaded at the first connection is no cost of a connection.
        load.connect(10)
        load.call("disconnect")
        empty = _settled(server)
        came = load.connect(clients)
        full = _settled(server)
        load.call("disconnect")
        back = _back_at_once(load, clients)
        again = _settled(server)
        load.call("disconnect")
        return {
            "bytes_a_connection": (full - empty) / clients,
            "memory_full": full,
            "connections_per_second": clients / came["seconds"],
            "back_seconds": back["seconds"],
            "back_failures": sum(back["failures"].values()),
            "growth_after_return": again - full,
            "kept_when_empty": _settled(server) - empty,
        }


def _back_at_once(load: LoadGenerator, clients: int) -> dict[str, Any]:
    return load.connect(clients, at_once=clients, strict=False)


def _settled(server: Server) -> int:
    """Memory, once what has just happened is over."""
    time.sleep(_SETTLE_SECONDS)
    return server.memory()


def _summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(each[name] for each in rounds) for name in rounds[0]}


def _show(clients: int, summary: dict[str, dict[str, float]]) -> None:
    columns = ("server", "a connection", "connections/s", "all back", "failed", "grown", "kept")
    rows = [
        (
            name,
            bytes_text(row["bytes_a_connection"]),
            f"{row['connections_per_second']:,.0f}",
            f"{row['back_seconds']:.2f} s",
            f"{row['back_failures']:.0f}",
            bytes_text(row["growth_after_return"]),
            bytes_text(row["kept_when_empty"]),
        )
        for name, row in summary.items()
    ]
    show(f"{clients} idle connections, medians", columns, rows)


def _draw(axes: "Sequence[Axes]", summary: dict[str, dict[str, float]]) -> None:
    values = [row["bytes_a_connection"] / 1024 for row in summary.values()]
    axes[0].barh(list(summary), values)
    axes[0].invert_yaxis()
    axes[0].set_xlabel("KiB of resident memory a connection")


if __name__ == "__main__":
    main()
