"""Ingest: how many events per second from one producer, and in how much memory?

No subscriber is connected. Four methods are measured: one POST per event, one POST per array, one
POST that streams lines, and the producer socket. Then each method that streams takes a large number
of events in one stream, while the server's resident memory is sampled.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bench.errors import MeasurementError
from bench.load_generator.process import open_load_generator
from bench.options import (
    COUNT,
    EVENT_BYTES,
    CommonOptions,
    common_options,
    option,
    parse_common_options,
    plot_option,
)
from bench.peers import PEERS
from bench.percentiles import medians
from bench.progress import progress_bar, warn
from bench.report import format_bytes, format_ratio, print_table, save_plot, save_results
from bench.server_process import open_server
from bench.server_sampler import ServerSampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SINGLE_POSTS", "STREAMS", "Method", "main", "measure"]

# By `Method.key`.
Rounds = dict[str, list[dict[str, float]]]
Summary = dict[str, dict[str, float]]


class Method(NamedTuple):
    """One way to publish."""

    # In the JSON of results, so that it can be compared with earlier ones.
    key: str
    # In tables and plots.
    title: str
    # Name of the peer.
    server: str
    # Events per write.
    batch: int


SINGLE_POSTS = Method("HTTP, one a POST", "HTTP, one event per POST", "ryze-http", 1)
_ARRAYS = Method("HTTP, array of 100", "HTTP, array of 100", "ryze-http", 100)
STREAMS = (
    Method("HTTP, a line an event", "HTTP, one event per line", "ryze-ndjson", 100),
    Method("publisher socket", "producer socket", "ryze", 100),
)
_METHODS = (SINGLE_POSTS, _ARRAYS, *STREAMS)

_SHORT_EVENTS = 100_000
_WARM_UP_SECONDS = 0.3

# Share of the memory samples before the level that must then stay flat.
_WARM_UP_SHARE = 0.1


@click.command()
@option("--event-bytes", type=EVENT_BYTES, default=300, help="Size of an event.")
@option("--events", type=COUNT, default=1_000_000, help="Events while memory is sampled.")
@plot_option
@common_options(peers=None, rounds=5, seconds=2.0)
def main(event_bytes: int, events: int, plot: bool, **common: Any) -> None:
    """Ingest: events per second from one producer, by each method, and memory meanwhile."""
    given = parse_common_options(**common)
    if given.short:
        events = min(events, _SHORT_EVENTS)
    rounds = measure(given, event_bytes)
    memory = _measure_memory(given, event_bytes, events)
    summary = {key: medians(rows) for key, rows in rounds.items()}
    _print_rates(summary)
    _print_memory(events, memory)
    parameters = {"event_bytes": event_bytes, "events": events, **vars(given)}
    save_results(given.output, "ingest", parameters, {"rates": rounds, "memory": memory})
    if plot and summary:
        save_plot(given.output, "ingest", lambda axes: _draw(axes[0], summary))


def measure(given: CommonOptions, event_bytes: int) -> Rounds:
    """Measure the rates of all methods, in every round."""
    rounds: Rounds = {}
    with progress_bar("ingest", given.rounds * len(_METHODS)) as step:
        for _ in range(given.rounds):
            for method in _METHODS:
                step(method.title)
                try:
                    row = _measure_one(method, event_bytes, given)
                except MeasurementError as error:
                    warn(str(error))
                    continue
                rounds.setdefault(method.key, []).append(row)
    return rounds


def _measure_one(method: Method, event_bytes: int, given: CommonOptions) -> dict[str, float]:
    with (
        open_server(PEERS[method.server], given.port) as server,
        open_load_generator(server) as load,
    ):
        load.open_producer(event_bytes)
        load.call("ingest_for", seconds=_WARM_UP_SECONDS, batch=method.batch)
        result = load.measure("ingest_for", seconds=given.seconds, batch=method.batch)
    seconds = result["end"] - result["begin"]
    return {
        "events_per_second": result["events"] / seconds,
        "server_cpu_us_per_event": result["server_cpu"] / result["events"] * 1e6,
        "load_cpu": result["load_cpu"] / seconds,
    }


def _measure_memory(given: CommonOptions, event_bytes: int, events: int) -> Summary:
    memory = {}
    for method in STREAMS:
        try:
            memory[method.key] = _measure_memory_of(method, event_bytes, events, given.port)
        except MeasurementError as error:
            warn(str(error))
    return memory


def _measure_memory_of(
    method: Method, event_bytes: int, events: int, port: int
) -> dict[str, float]:
    """Publish all events in one stream; return memory after the warm-up, and its growth."""
    with open_server(PEERS[method.server], port) as server, open_load_generator(server) as load:
        load.open_producer(event_bytes)
        with ServerSampler(server) as sampler:
            result = load.measure("ingest_count", count=events, batch=method.batch)
    sizes = [
        sample.memory for sample in sampler.samples if result["begin"] < sample.at < result["end"]
    ]
    if not sizes:
        raise MeasurementError(
            f"{method.title}: {events:,} events are too few to sample memory; increase --events"
        )
    later = sizes[round((len(sizes) - 1) * _WARM_UP_SHARE) :]
    return {
        "warm": later[0],
        "growth": max(later) - later[0],
        "events_per_second": events / (result["end"] - result["begin"]),
    }


def _print_rates(summary: Summary) -> None:
    base = summary.get(SINGLE_POSTS.key, {}).get("events_per_second", 0.0)
    rows = [
        (
            method.title,
            f"{row['events_per_second']:,.0f}",
            format_ratio(row["events_per_second"], base),
            f"{row['server_cpu_us_per_event']:.1f}",
            f"{row['load_cpu']:.0%}",
        )
        for method in _METHODS
        if (row := summary.get(method.key))
    ]
    columns = ("method", "events/s", "method/single POSTs", "CPU us/event", "load CPU")
    print_table("Publishing with nobody connected; medians of rounds", columns, rows)


def _print_memory(events: int, memory: Summary) -> None:
    rows = [
        (
            method.title,
            f"{row['events_per_second']:,.0f}",
            format_bytes(row["warm"]),
            format_bytes(row["growth"]),
        )
        for method in STREAMS
        if (row := memory.get(method.key))
    ]
    columns = ("method", "events/s", "RSS after 10 %", "largest growth after that")
    print_table(f"{events:,} events in one stream", columns, rows)


def _draw(axes: "Axes", summary: Summary) -> None:
    methods = [method for method in _METHODS if method.key in summary]
    rates = [summary[method.key]["events_per_second"] for method in methods]
    bars = axes.barh([method.title for method in methods], rates)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.invert_yaxis()
    axes.set_xscale("log")
    # A log axis has no zero: leave room for the shortest bar, and for the longest one's label.
    axes.set_xlim(min(rates) / 10, max(rates) * 3)
    axes.set_xlabel("events per second, nobody connected")


if __name__ == "__main__":
    main()
