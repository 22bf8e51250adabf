"""Ingest: how many events a second a server takes from one publisher.

By each way in: a POST for each event, a POST with an array, the publisher socket; with nobody
connected.
"""

from typing import Any

import click

from bench.generator import load_generator
from bench.notes import Trouble, progress, tell
from bench.options import Options, common_options, options
from bench.peers import PEERS
from bench.report import median, ratio_text, save, show
from bench.servers import running

__all__ = ["main", "measure"]

Rows = dict[str, list[dict[str, float]]]

# What is measured: its name, the server's name, events a write.
_WAYS = (
    ("HTTP, one a POST", "ryze-http", 1),
    ("HTTP, array of 100", "ryze-http", 100),
    ("publisher socket", "ryze", 100),
)


@click.command()
@click.option("--event-bytes", default=300, show_default=True)
@common_options(peers="ryze", rounds=5, seconds=2.0)
def main(event_bytes: int, **common: Any) -> None:
    """How many events a second can be published, by each way in?"""
    given = options(**common)
    rows = measure(given, event_bytes)
    _show(rows)
    save(given.output, "ingest", {"event_bytes": event_bytes, **vars(given)}, rows)


def measure(given: Options, event_bytes: int) -> Rows:
    """All ways in, in turn, in every round."""
    rows: Rows = {}
    with progress("ingest", given.rounds * len(_WAYS)) as step:
        for _ in range(given.rounds):
            for title, name, in_flight in _WAYS:
                step(title)
                try:
                    row = _measure_one(name, in_flight, event_bytes, given)
                except Trouble as trouble:
                    tell(str(trouble))
                    continue
                rows.setdefault(title, []).append(row)
    return rows


def _measure_one(name: str, in_flight: int, event_bytes: int, given: Options) -> dict[str, float]:
    with running(PEERS[name], given.port) as server, load_generator(server) as load:
        load.open_publisher(event_bytes)
        load.call("ingest", seconds=0.3, in_flight=in_flight)
        result = load.measured("ingest", seconds=given.seconds, in_flight=in_flight)
    seconds = result["end"] - result["begin"]
    return {
        "events_per_second": result["events"] / seconds,
        "server_cpu_us_per_event": result["server_cpu"] / result["events"] * 1e6,
        "load_cpu": result["load_cpu"] / seconds,
    }


def _show(rows: Rows) -> None:
    medians = {
        title: {name: median(each[name] for each in rounds) for name in rounds[0]}
        for title, rounds in rows.items()
    }
    base = medians.get(_WAYS[0][0], {}).get("events_per_second", 0.0)
    table = [
        (
            title,
            f"{row['events_per_second']:,.0f}",
            ratio_text(row["events_per_second"], base),
            f"{row['server_cpu_us_per_event']:.1f}",
            f"{row['load_cpu']:.0%}",
        )
        for title, row in medians.items()
    ]
    show(
        "Publishing with nobody connected, medians",
        ("way in", "events/s", "of single POSTs", "CPU us", "load CPU"),
        table,
    )


if __name__ == "__main__":
    main()
