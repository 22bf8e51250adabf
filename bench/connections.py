"""Connections: what does an idle one cost in memory, and what if all reconnect at once?

The server's resident memory is read before the first connection, with all of them open, and
again after all were reset, like in a network failure, and have reconnected at the same moment.
They reconnect three times. The first time also takes memory for the burst of handshakes, which
the allocator keeps; a leak would show in the growth from one time to the next. Memory of the
kernel for a connection is not included.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.errors import MeasurementError
from bench.load_generator.process import open_load_generator
from bench.machine import raise_file_limit
from bench.options import (
    COUNT,
    CommonOptions,
    common_options,
    installed_peers,
    option,
    parse_common_options,
    plot_option,
)
from bench.peers import Peer
from bench.percentiles import median, medians
from bench.progress import progress_bar, warn
from bench.report import format_bytes, print_table, save_plot, save_results
from bench.server_process import ServerProcess, open_server

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main", "measure"]

Rounds = dict[str, list[dict[str, float]]]
Summary = dict[str, dict[str, float]]

_SHORT_CLIENTS = 1000
_WARM_UP_CLIENTS = 10
_RECONNECTS = 3

# A server that used less than this share of a processor for this long is idle. Heartbeats alone
# take a share of 0.05 for 8,000 clients.
_IDLE_SHARE = 0.15
_IDLE_SECONDS = 0.5
_MAX_BUSY_SECONDS = 60


@click.command()
@option("-n", "--clients", type=COUNT, default=8000, help="Number of connections.")
@plot_option
@common_options(peers="ryze,ryze-1000,gorilla", rounds=3, seconds=None)
def main(clients: int, plot: bool, **common: Any) -> None:
    """Connections: memory of an idle one, connections per second, all reconnecting at once."""
    given = parse_common_options(**common)
    if given.short:
        clients = min(clients, _SHORT_CLIENTS)
    rounds = measure(given, clients)
    summary = {name: _summarize(rows) for name, rows in rounds.items()}
    _print_table(clients, summary)
    save_results(given.output, "connections", {"clients": clients, **vars(given)}, rounds)
    if plot and summary:
        save_plot(given.output, "connections", lambda axes: _draw(axes, summary), 2)


def measure(given: CommonOptions, clients: int) -> Rounds:
    """Measure all servers, in every round."""
    rounds: Rounds = {}
    peers = installed_peers(given.peers)
    with progress_bar("connections", given.rounds * len(peers)) as step:
        for _ in range(given.rounds):
            for peer in peers:
                step(peer.title)
                try:
                    row = _measure_one(peer, clients, given.port)
                except MeasurementError as error:
                    warn(str(error))
                    continue
                rounds.setdefault(peer.name, []).append(row)
    return rounds


def _measure_one(peer: Peer, clients: int, port: int) -> dict[str, float]:
    raise_file_limit(clients)
    with open_server(peer, port) as server, open_load_generator(server) as load:
        # Modules that the first connection imports are not a cost per connection.
        load.connect(_WARM_UP_CLIENTS)
        load.call("disconnect")
        empty = _wait_idle(server)
        first = load.connect(clients)
        full = [_wait_idle(server)]
        reconnects = []
        for _ in range(_RECONNECTS):
            load.call("disconnect")
            reconnects.append(load.connect(clients, concurrency=clients, strict=False))
            full.append(_wait_idle(server))
        load.call("disconnect")
        return {
            "bytes_a_connection": (full[0] - empty) / clients,
            "memory_full": full[0],
            "connections_per_second": clients / first["seconds"],
            "back_seconds": median(each["seconds"] for each in reconnects),
            "back_failures": sum(sum(each["failures"].values()) for each in reconnects),
            "growth_of_first_return": full[1] - full[0],
            "growth_of_a_return": (full[-1] - full[1]) / (_RECONNECTS - 1),
            "kept_when_empty": _wait_idle(server) - empty,
        }


def _wait_idle(server: ServerProcess) -> int:
    """Wait until the server is idle, for at most a minute; return its resident memory."""
    deadline = time.monotonic() + _MAX_BUSY_SECONDS
    used = _IDLE_SECONDS
    while used > _IDLE_SHARE * _IDLE_SECONDS and time.monotonic() < deadline:
        before = server.cpu_seconds()
        time.sleep(_IDLE_SECONDS)
        used = server.cpu_seconds() - before
    return server.resident_bytes()


def _summarize(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return medians, but of failures the sum."""
    failures = sum(row["back_failures"] for row in rows)
    return {**medians(rows), "back_failures": failures}


def _print_table(clients: int, summary: Summary) -> None:
    columns = (
        *("server", "memory/connection", "connections/s", "all reconnected after", "failures"),
        *("memory growth, first time", "each further time", "kept when empty"),
    )
    rows = [
        (
            name,
            format_bytes(row["bytes_a_connection"]),
            f"{row['connections_per_second']:,.0f}",
            f"{row['back_seconds']:.2f} s",
            f"{row['back_failures']:.0f}",
            format_bytes(row["growth_of_first_return"]),
            format_bytes(row["growth_of_a_return"]),
            format_bytes(row["kept_when_empty"]),
        )
        for name, row in summary.items()
    ]
    title = (
        f"{clients:,} idle connections that reconnect at once {_RECONNECTS} times;"
        " medians of rounds, failures of all"
    )
    print_table(title, columns, rows)


def _draw(axes: "Sequence[Axes]", summary: Summary) -> None:
    for panel, name, unit, label in (
        (axes[0], "bytes_a_connection", 1024, "KiB of resident memory per connection"),
        (axes[1], "back_seconds", 1, "seconds until all have reconnected"),
    ):
        bars = panel.barh(list(summary), [row[name] / unit for row in summary.values()])
        panel.bar_label(bars, fmt="%.1f", padding=3)
        panel.invert_yaxis()
        panel.set_xlabel(label)


if __name__ == "__main__":
    main()
