"""Ingest: how many events a second a server takes from one publisher, and in how much memory.

By each way in: a POST for each event, a POST with an array, a POST that streams lines, the
publisher socket; with nobody connected. Then, by each way that streams, a great many events in
one go while the server's resident memory is watched.
"""

from typing import TYPE_CHECKING, Any

import click

from bench.load_generator.process import load_generator
from bench.options import COUNT, EVENT_BYTES, Options, common_options, option, options
from bench.peers import PEERS
from bench.percentiles import medians
from bench.progress import Trouble, progress, tell
from bench.report import bytes_text, ratio_text, save, save_plot, show
from bench.server_process import running
from bench.server_sampler import Watch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["STREAMS", "main", "measure"]

Rows = dict[str, list[dict[str, float]]]

# The ways that stream, by the server's name.
STREAMS = {"HTTP, a line an event": "ryze-ndjson", "publisher socket": "ryze"}

# What is measured: its name, the server's name, events a write.
_WAYS = (
    ("HTTP, one a POST", "ryze-http", 1),
    ("HTTP, array of 100", "ryze-http", 100),
    *((title, name, 100) for title, name in STREAMS.items()),
)

_SHORT_EVENTS = 100_000

# Of all looks at the memory, the share until which it may still rise to where it stays.
_WARM_UP = 0.1


@click.command()
@option("--event-bytes", type=EVENT_BYTES, default=300)
@option("--events", type=COUNT, default=1_000_000, help="While memory is watched.")
@click.option("--plot/--no-plot", default=True)
@common_options(peers=None, rounds=5, seconds=2.0)
def main(event_bytes: int, events: int, plot: bool, **common: Any) -> None:
    """How many events a second can be published, by each way in, and does memory stay flat?"""
    given = options(**common)
    if common["short"]:
        events = min(events, _SHORT_EVENTS)
    rows = measure(given, event_bytes)
    memory = _measure_memory(given, event_bytes, events)
    summary = {title: medians(rounds) for title, rounds in rows.items()}
    _show(summary)
    _show_memory(events, memory)
    parameters = {"event_bytes": event_bytes, "events": events, **vars(given)}
    save(given.output, "ingest", parameters, {"rates": rows, "memory": memory})
    if plot and summary:
        save_plot(given.output, "ingest", lambda axes: _draw(axes[0], summary))


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


def _measure_memory(given: Options, event_bytes: int, events: int) -> dict[str, dict[str, float]]:
    memory = {}
    for title, name in STREAMS.items():
        try:
            memory[title] = _pour(name, event_bytes, events, given.port)
        except Trouble as trouble:
            tell(str(trouble))
    return memory


def _pour(name: str, event_bytes: int, events: int, port: int) -> dict[str, float]:
    """So many events in one stream; how memory was at its warm-up's end, and at most after it."""
    with running(PEERS[name], port) as server, load_generator(server) as load:
        load.open_publisher(event_bytes)
        with Watch(server) as watch:
            result = load.measured("pour", count=events, in_flight=100)
        sizes = [look.memory for look in watch.looks if result["begin"] < look.at < result["end"]]
        if not sizes:
            raise Trouble(f"{name}: {events} events are too few to see memory move")
        later = sizes[round((len(sizes) - 1) * _WARM_UP) :]
        return {
            "warm": later[0],
            "growth": max(later) - later[0],
            "events_per_second": events / (result["end"] - result["begin"]),
        }


def _show(summary: dict[str, dict[str, float]]) -> None:
    base = summary.get(_WAYS[0][0], {}).get("events_per_second", 0.0)
    table = [
        (
            title,
            f"{row['events_per_second']:,.0f}",
            ratio_text(row["events_per_second"], base),
            f"{row['server_cpu_us_per_event']:.1f}",
            f"{row['load_cpu']:.0%}",
        )
        for title, row in summary.items()
    ]
    show(
        "Publishing with nobody connected, medians",
        ("way in", "events/s", "of single POSTs", "CPU us", "load CPU"),
        table,
    )


def _show_memory(events: int, memory: dict[str, dict[str, float]]) -> None:
    table = [
        (
            title,
            f"{row['events_per_second']:,.0f}",
            bytes_text(row["warm"]),
            bytes_text(row["growth"]),
        )
        for title, row in memory.items()
    ]
    columns = ("way in", "events/s", "RSS after a tenth", "at most more, later")
    show(f"{events:,} events in one stream", columns, table)


def _draw(axes: "Axes", summary: dict[str, dict[str, float]]) -> None:
    rates = [row["events_per_second"] for row in summary.values()]
    axes.bar_label(axes.barh(list(summary), rates), fmt="{:,.0f}", padding=3)
    axes.invert_yaxis()
    axes.set_xscale("log")
    # Room for the shortest bar, and for the longest one's label.
    axes.set_xlim(min(rates) / 10, max(rates) * 3)
    axes.set_xlabel("events a second, nobody connected")


if __name__ == "__main__":
    main()
