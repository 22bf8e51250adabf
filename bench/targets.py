"""The targets, one a line: what was asked for, what was measured, met or missed.

Reads the JSON that the questions have written. What was not measured is said to be so.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from bench.ingest import STREAMS
from bench.peers import OURS
from bench.percentiles import median
from bench.progress import tell
from bench.report import bytes_text, show

__all__ = ["Line", "lines", "main"]

_OTHER = "gorilla"
_QUEUE = 256
_KIB = 1024
# Memory that stays flat: an allocator breathes this much, and a million events have 300 times it.
_FLAT = 1024 * _KIB
# Memory that is "back to where it was" is back up to this share of what was taken.
_NOISE = 0.1
_SCALES = {OURS: "1 instance", f"{OURS}-1000": "1,000 instances"}


class Line(NamedTuple):
    """One target."""

    name: str
    target: str
    measured: str
    met: bool


Results = dict[str, Any]


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/bench"),
    show_default=True,
    help="Where the questions have written to.",
)
def main(output: Path) -> None:
    """Which targets are met?"""
    rows = [
        (line.name, line.target, line.measured, "met" if line.met else "MISSED")
        for line in lines(output)
    ]
    show("Targets", ("", "target", "measured", ""), rows)


def lines(output: Path) -> Iterator[Line]:
    """All targets that can be judged by what lies there; the others are told of."""
    for question, judge in _JUDGES.items():
        path = output / f"{question}.json"
        if not path.exists():
            tell(f"not measured: python -m bench.{question} (there is no {path})")
            continue
        document = json.loads(path.read_text())
        _tell_of(question, document)
        try:
            yield from judge(document)
        except (KeyError, IndexError) as error:
            tell(f"{path} has not all that the targets need: {error}")


def _tell_of(question: str, document: Results) -> None:
    is_short = document.get("parameters", {}).get("short")
    note = ": a short run, whose figures are not to be quoted" if is_short else ""
    tell(f"{question}: finished {document.get('finished_at', 'who knows when')}{note}")


def _fanout(document: Results) -> Iterator[Line]:
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
        if (OURS, n, w) not in rates or (other, n, w) not in rates:
            tell(f"not measured: {name}, {OURS} against {other}")
            continue
        ratio = rates[OURS, n, w] / rates[other, n, w]
        yield Line(name, f">= {least:g} x {other}", f"{ratio:.2f} x", ratio >= least)


def _latency(document: Results) -> Iterator[Line]:
    given = document["parameters"]
    name = f"p99 to last receipt, n={given['clients']}, {given['rate']:g} events/s"
    last = {
        server: [each["last_receipts"]["p99"] for each in rounds if each["usable"]]
        for server, rounds in document["results"].items()
    }
    if not last[OURS] or not last[_OTHER]:
        tell(f"not usable: {name}: the load generator was late")
        return
    ours, theirs = median(last[OURS]), median(last[_OTHER])
    text = f"{ours * 1e3:.2f} ms, {theirs * 1e3:.2f} ms: {ours / theirs:.2f} x"
    yield Line(name, f"<= 1 x {_OTHER}", text, ours <= theirs)


def _slow_clients(document: Results) -> Iterator[Line]:
    results, given = document["results"], document["parameters"]
    if given["rate"]:
        tell(f"not measured: slow clients that do not read (they read {given['rate']:g} bytes/s)")
        return
    rounds = results["others"][OURS]["rounds"]
    name = f"fast clients, {given['slow']} of {given['clients']} do not read"
    rate = median(each["rate_ratio"] for each in rounds)
    yield Line(f"{name}: rate", ">= 0.95 x", _with_range(rate, rounds, "rate_ratio"), rate >= 0.95)
    p99 = median(each["p99_ratio"] for each in rounds)
    yield Line(f"{name}: p99", "<= 1.1 x", _with_range(p99, rounds, "p99_ratio"), p99 <= 1.1)
    pending = sorted({str(row["pending"]) for row in results["counts"][OURS]["clients"]})
    yield Line(
        "a stalled client: pending when dropped",
        str(_QUEUE),
        ", ".join(pending),
        pending == [str(_QUEUE)],
    )
    closing = results["closing"][OURS]
    closed = [after for after in closing["closed_after"] if after is not None]
    held = given["count_event_bytes"] * _QUEUE
    yield Line(
        "a stalled client: memory is given back",
        f"kept <= {bytes_text(_NOISE * held)}",
        f"{bytes_text(closing['memory_kept'])} kept a wave",
        closing["memory_kept"] <= _NOISE * held,
    )
    yield Line(
        "a stalled client: its socket is closed",
        "all",
        f"{len(closed)} of {len(closing['closed_after'])}",
        len(closed) == len(closing["closed_after"]),
    )


def _with_range(value: float, rounds: list[Results], what: str) -> str:
    every = [each[what] for each in rounds]
    return f"{value:.2f} x ({min(every):.2f} - {max(every):.2f})"


def _connections(document: Results) -> Iterator[Line]:
    results = document["results"]
    clients = document["parameters"]["clients"]
    size = {
        server: median(each["bytes_a_connection"] for each in rounds)
        for server, rounds in results.items()
    }
    name = f"memory of an idle connection, {clients} of them"
    ours = size[OURS]
    yield Line(name, "<= 15 KiB", bytes_text(ours), ours <= 15 * _KIB)
    if _OTHER in size:
        text = f"{bytes_text(ours)}, {bytes_text(size[_OTHER])}"
        yield Line(name, f"below {_OTHER}", text, ours < size[_OTHER])
    else:
        tell(f"not measured: {name}, {OURS} against {_OTHER}")
    for server, scale in _SCALES.items():
        if server not in results:
            tell(f"not measured: {clients} connections, {scale}")
            continue
        rounds = results[server]
        name = f"{clients} back at once, {scale}"
        failures = sum(each["back_failures"] for each in rounds)
        yield Line(name, "no failure", f"{failures:.0f} failures", not failures)
        grown = median(each["growth_of_a_return"] for each in rounds)
        most = _NOISE * median(each["bytes_a_connection"] for each in rounds) * clients
        yield Line(
            f"{name}: memory as before",
            f"<= {bytes_text(most)} more",
            bytes_text(grown),
            grown <= most,
        )


def _ingest(document: Results) -> Iterator[Line]:
    results, events = document["results"], document["parameters"]["events"]
    rates = {
        way: median(each["events_per_second"] for each in rounds)
        for way, rounds in results["rates"].items()
    }
    for way in STREAMS:
        ratio = rates[way] / rates["HTTP, one a POST"]
        name = f"{way}, nobody connected"
        yield Line(name, ">= 50 x single POSTs", f"{ratio:.1f} x", ratio >= 50)
    for way in STREAMS:
        growth = results["memory"][way]["growth"]
        name = f"{way}, {events:,} events: memory stays flat"
        yield Line(name, f"<= {bytes_text(_FLAT)} more", bytes_text(growth), growth <= _FLAT)


_JUDGES: dict[str, Callable[[Results], Iterator[Line]]] = {
    "fanout": _fanout,
    "latency": _latency,
    "slow_clients": _slow_clients,
    "connections": _connections,
    "ingest": _ingest,
}


if __name__ == "__main__":
    main()
