"""Idle connections: memory for each, how fast they come, and all of them back at once.

The server's resident memory is taken before the first connection, with all of them up, and
after they were reset, as a failing network would, and have all come back in the same moment;
that three times, since the first time takes what a crowd at the door needs and the allocator
keeps it: it is the growth from one return to the next that would tell a leak. What the kernel
holds for a connection is not in it.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.load_generator.process import load_generator
from bench.machine import raise_file_limit
from bench.options import COUNT, available, common_options, option, options
from bench.peers import Peer
from bench.percentiles import median, medians
from bench.progress import Trouble, progress, tell
from bench.report import bytes_text, save, save_plot, show
from bench.server_process import Server, running

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main", "measure_one"]

_SHORT_CLIENTS = 1000
_RETURNS = 3

# A server that has used less than this share of a processor for so long has nothing left to do
# but the heartbeat, which takes 0.05 for 8,000 clients.
_QUIET_SHARE = 0.15
_QUIET_SECONDS = 0.5
_PATIENCE_SECONDS = 60


@click.command()
@option("-n", "--clients", type=COUNT, default=8000, help="Connections.")
@click.option("--plot/--no-plot", default=True)
@common_options(peers="ryze,ryze-1000,gorilla", rounds=3, seconds=None)
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
                    row = measure_one(peer, clients, given.port)
                except Trouble as trouble:
                    tell(str(trouble))
                    continue
                rows.setdefault(peer.name, []).append(row)
    summary = {name: _summary(rounds) for name, rounds in rows.items()}
    _show(clients, summary)
    save(given.output, "connections", {"clients": clients, **vars(given)}, rows)
    if plot and summary:
        save_plot(given.output, "connections", lambda axes: _draw(axes, summary), 2)


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
        full = [_settled(server)]
        back = []
        for _ in range(_RETURNS):
            load.call("disconnect")
            back.append(load.connect(clients, at_once=clients, strict=False))
            full.append(_settled(server))
        load.call("disconnect")
        return {
            "bytes_a_connection": (full[0] - empty) / clients,
            "memory_full": full[0],
            "connections_per_second": clients / came["seconds"],
            "back_seconds": median(each["seconds"] for each in back),
            "back_failures": sum(sum(each["failures"].values()) for each in back),
            "growth_of_first_return": full[1] - full[0],
            "growth_of_a_return": (full[-1] - full[1]) / (_RETURNS - 1),
            "kept_when_empty": _settled(server) - empty,
        }


def _settled(server: Server) -> int:
    """Memory, once what has just happened is over."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    used = _QUIET_SECONDS
    while used > _QUIET_SHARE * _QUIET_SECONDS and time.monotonic() < deadline:
        before = server.cpu_seconds()
        time.sleep(_QUIET_SECONDS)
        used = server.cpu_seconds() - before
    return server.memory()


def _summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    failures = sum(each["back_failures"] for each in rounds)
    return {**medians(rounds), "back_failures": failures}


def _show(clients: int, summary: dict[str, dict[str, float]]) -> None:
    columns = ("server", "a connection", "connections/s", "all back", "failed in all")
    rows = [
        (
            name,
            bytes_text(row["bytes_a_connection"]),
            f"{row['connections_per_second']:,.0f}",
            f"{row['back_seconds']:.2f} s",
            f"{row['back_failures']:.0f}",
            bytes_text(row["growth_of_first_return"]),
            bytes_text(row["growth_of_a_return"]),
            bytes_text(row["kept_when_empty"]),
        )
        for name, row in summary.items()
    ]
    title = f"{clients} idle connections, medians; memory grown by their first return, and by each"
    show(title, (*columns, "first", "further", "kept"), rows)


def _draw(axes: "Sequence[Axes]", summary: dict[str, dict[str, float]]) -> None:
    for panel, name, unit, label in (
        (axes[0], "bytes_a_connection", 1024, "KiB of resident memory a connection"),
        (axes[1], "back_seconds", 1, "seconds until all are back"),
    ):
        bars = panel.barh(list(summary), [row[name] / unit for row in summary.values()])
        panel.bar_label(bars, fmt="%.1f", padding=3)
        panel.invert_yaxis()
        panel.set_xlabel(label)


if __name__ == "__main__":
    main()
