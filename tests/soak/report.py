"""What a soak came to: a table for people, JSON for programs."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import machine
from tests.soak.soak import Cast, Result

__all__ = ["save", "show"]

_MIB = 2**20


def show(result: Result) -> None:
    """Print it on standard output."""
    table = Table(title="Soak", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, text in _rows(result):
        table.add_row(name, text)
    console = Console()
    console.print(table)
    for fault in result.faults:
        console.print(f"FAULT {fault}", markup=False, highlight=False, soft_wrap=True)
    if result.more_faults:
        console.print(f"and {result.more_faults} more")
    console.print("all is well" if result.is_well else "NOT WELL")


def _rows(result: Result) -> list[tuple[str, str]]:
    memory, descriptors = result.memory, result.descriptors
    return [
        ("seconds", f"{result.seconds:.0f}"),
        ("capacity, events/s", f"{result.capacity:,.0f}"),
        ("intended, events/s", f"{result.intended:,.0f}"),
        ("published, events/s", f"{result.published:,.0f}"),
        ("events published", f"{result.events:,}"),
        ("frames judged (the rest was filtered out)", f"{result.frames:,}"),
        ("received by healthy clients, MiB", f"{result.received_bytes / _MIB:,.0f}"),
        *((name, f"{count:,}") for name, count in result.done.items()),
        ("server's memory: before, MiB", f"{memory['before'] / _MIB:.1f}"),
        ("second half, median", f"{memory['level'] / _MIB:.1f}"),
        ("second half, growth", f"{memory['growth'] / _MIB:+.2f}"),
        ("after", f"{memory.get('after', 0) / _MIB:.1f}"),
        ("server's descriptors: before", f"{descriptors['before']:.0f}"),
        ("second half, median", f"{descriptors['level']:.0f}"),
        ("second half, growth", f"{descriptors['growth']:+.1f}"),
        ("after", f"{descriptors.get('after', 0):.0f}"),
        ("server's CPU seconds", f"{result.server_cpu_seconds:.0f}"),
        ("exit code after SIGTERM", str(result.exit_code)),
        ("faults", str(len(result.faults) + result.more_faults)),
    ]


def save(path: Path, cast: Cast, seed: int, result: Result) -> None:
    """Write it with all that is needed to judge it later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "cast": vars(cast),
        "seed": seed,
        "machine": machine(),
        "is_well": result.is_well,
        "result": result.as_json(),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
