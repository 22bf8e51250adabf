"""Targets: which of them are met by the last results?

Reads the JSON files of all questions and prints one row per target: limit, measured figure, met
or missed. A target without a measurement is not judged, but reported as not measured.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from bench.ingest import SINGLE_POSTS, STREAMS
from bench.options import output_option
from bench.peers import RYZE
from bench.percentiles import median
from bench.progress import warn
from bench.report import format_bytes, print_table

__all__ = ["TargetResult", "judge_targets", "main"]

_OTHER = "gorilla"
_QUEUE_SIZE = 256
_KIB = 1024
# Growth that counts as flat: an allocator varies this much, and a million events have 300 times it.
_FLAT = 1024 * _KIB
# Share of the memory taken that may remain when it "is released".
_NOISE = 0.1
_SCALES = {RYZE: "1 instance", f"{RYZE}-1000": "1,000 instances"}


class TargetResult(NamedTuple):
    """One target, and what was measured."""

    name: str
    target: str
    measured: str
    is_met: bool


Document = dict[str, Any]


@click.command()
@output_option
def main(output: Path) -> None:
    """Print which targets are met by the last results."""
    rows = [
        (result.name, result.target, result.measured, "met" if result.is_met else "MISSED")
        for result in judge_targets(output)
    ]
    print_table("Targets", ("target", "limit", "measured", "result"), rows)


def judge_targets(output: Path) -> Iterator[TargetResult]:
    """Judge all targets by the JSON files in a directory; warn about those not measured."""
    for question, judge in _JUDGES.items():
        path = output / f"{question}.json"
        if not path.exists():
            warn(f"not measured: there is no {path}; run python -m bench.{question}")
            continue
        document = json.loads(path.read_text())
        _print_date(question, document)
        try:
            yield from judge(document)
        except (KeyError, IndexError) as error:
            warn(f"{path} lacks {error}, which the targets need; run python -m bench.{question}")


def _print_date(question: str, document: Document) -> None:
    is_short = document.get("parameters", {}).get("short")
    note = ": a short run, do not quote its figures" if is_short else ""
    warn(f"{question}: finished {document.get('finished_at', 'at an unknown time')}{note}")


def _judge_fanout(document: Document) -> Iterator[TargetResult]:
    rates = {
        (row["server"], row["clients"], row["in_flight"]): row["deliveries_per_second"]
        for row in document["results"]
    }
    for n, w, other, least in (
        (1000, 1, _OTHER, 1.2),
        (1000, 1, "c", 0.85),
        (1000, 8, _OTHER, 3.0),
        (1000, 64, _OTHER, 10.0),
        (10, 1, _OTHER, 1.0),
    ):
        name = f"fan-out, n={n}, w={w}"
        if (RYZE, n, w) not in rates or (other, n, w) not in rates:
            warn(f"not measured: {name}, {RYZE} against {other}")
            continue
        ratio = rates[RYZE, n, w] / rates[other, n, w]
        yield TargetResult(name, f">= {least:g} x {other}", f"{ratio:.2f} x", ratio >= least)


def _judge_latency(document: Document) -> Iterator[TargetResult]:
    given = document["parameters"]
    name = f"p99 until the last receipt, n={given['clients']}, {given['rate']:g} events/s"
    last = {
        server: [row["last_receipts"]["p99"] for row in rows if row["usable"]]
        for server, rows in document["results"].items()
    }
    if not last[RYZE] or not last[_OTHER]:
        warn(f"not measured: {name}: no usable round, the load generator was late")
        return
    ryze, other = median(last[RYZE]), median(last[_OTHER])
    text = f"{ryze * 1e3:.2f} ms, {other * 1e3:.2f} ms: {ryze / other:.2f} x"
    yield TargetResult(name, f"<= 1 x {_OTHER}", text, ryze <= other)


def _judge_slow_clients(document: Document) -> Iterator[TargetResult]:
    results, given = document["results"], document["parameters"]
    if given["rate"]:
        warn(f"not measured: slow clients that do not read (they read {given['rate']:g} bytes/s)")
        return
    rounds = results["others"][RYZE]["rounds"]
    name = f"fast clients while {given['slow']} of {given['clients']} do not read"
    rate = median(each["rate_ratio"] for each in rounds)
    text = _format_with_range(rate, rounds, "rate_ratio")
    yield TargetResult(f"{name}: rate", ">= 0.95 x", text, rate >= 0.95)
    p99 = median(each["p99_ratio"] for each in rounds)
    text = _format_with_range(p99, rounds, "p99_ratio")
    yield TargetResult(f"{name}: p99", "<= 1.1 x", text, p99 <= 1.1)
    pending = sorted({str(row["pending"]) for row in results["counts"][RYZE]["clients"]})
    yield TargetResult(
        "stalled client: pending when evicted",
        str(_QUEUE_SIZE),
        ", ".join(pending),
        pending == [str(_QUEUE_SIZE)],
    )
    closing = results["closing"][RYZE]
    closed = [after for after in closing["closed_after"] if after is not None]
    taken = given["count_event_bytes"] * _QUEUE_SIZE
    yield TargetResult(
        "stalled client: memory released",
        f"<= {format_bytes(_NOISE * taken)} kept per wave",
        format_bytes(closing["memory_kept"]),
        closing["memory_kept"] <= _NOISE * taken,
    )
    yield TargetResult(
        "stalled client: socket closed",
        "all",
        f"{len(closed)} of {len(closing['closed_after'])}",
        len(closed) == len(closing["closed_after"]),
    )


def _format_with_range(value: float, rounds: list[Document], key: str) -> str:
    values = [each[key] for each in rounds]
    return f"{value:.2f} x ({min(values):.2f} - {max(values):.2f})"


def _judge_connections(document: Document) -> Iterator[TargetResult]:
    results = document["results"]
    clients = document["parameters"]["clients"]
    size = {
        server: median(row["bytes_a_connection"] for row in rows)
        for server, rows in results.items()
    }
    name = f"memory per idle connection, {clients:,} connections"
    ryze = size[RYZE]
    yield TargetResult(name, "<= 15 KiB", format_bytes(ryze), ryze <= 15 * _KIB)
    if _OTHER in size:
        text = f"{format_bytes(ryze)}, {format_bytes(size[_OTHER])}"
        yield TargetResult(name, f"< {_OTHER}", text, ryze < size[_OTHER])
    else:
        warn(f"not measured: {name}, {RYZE} against {_OTHER}")
    for server, scale in _SCALES.items():
        if server not in results:
            warn(f"not measured: {clients:,} connections, {scale}")
            continue
        yield from _judge_reconnects(results[server], clients, scale)


def _judge_reconnects(rows: list[Document], clients: int, scale: str) -> Iterator[TargetResult]:
    name = f"{clients:,} reconnect at once, {scale}"
    failures = sum(row["back_failures"] for row in rows)
    yield TargetResult(name, "no failure", f"{failures:.0f} failures", not failures)
    growth = median(row["growth_of_a_return"] for row in rows)
    most = _NOISE * median(row["bytes_a_connection"] for row in rows) * clients
    yield TargetResult(
        f"{name}: memory growth each time",
        f"<= {format_bytes(most)}",
        format_bytes(growth),
        growth <= most,
    )


def _judge_ingest(document: Document) -> Iterator[TargetResult]:
    results, events = document["results"], document["parameters"]["events"]
    rates = {
        key: median(row["events_per_second"] for row in rows)
        for key, rows in results["rates"].items()
    }
    for method in STREAMS:
        ratio = rates[method.key] / rates[SINGLE_POSTS.key]
        name = f"{method.title}, nobody connected"
        yield TargetResult(name, ">= 50 x single POSTs", f"{ratio:.1f} x", ratio >= 50)
    for method in STREAMS:
        growth = results["memory"][method.key]["growth"]
        name = f"{method.title}, {events:,} events: memory growth"
        yield TargetResult(name, f"<= {format_bytes(_FLAT)}", format_bytes(growth), growth <= _FLAT)


_JUDGES: dict[str, Callable[[Document], Iterator[TargetResult]]] = {
    "fanout": _judge_fanout,
    "latency": _judge_latency,
    "slow_clients": _judge_slow_clients,
    "connections": _judge_connections,
    "ingest": _judge_ingest,
}


if __name__ == "__main__":
    main()
