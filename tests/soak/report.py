"""Report of a soak: a table for people, JSON for programs."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import machine
from tests.soak.soak import Parameters, Result

__all__ = ["save", "show"]

_MIB = 2**20


def show(result: Result) -> None:
    """Print the result on standard output."""
    table = Table(title="Soak", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, text in _rows(result):
        table.add_row(name, text)
    console = Console()
    console.print(table)
    for message in result.violations:
        console.print(f"VIOLATION {message}", markup=False, highlight=False, soft_wrap=True)
    if result.omitted_violations:
        console.print(f"and {result.omitted_violations} more violations")
    console.print("passed" if result.has_passed else "FAILED")


def _rows(result: Result) -> list[tuple[str, str]]:
    memory, descriptors = result.memory, result.descriptors
    return [
        ("seconds", f"{result.seconds:.0f}"),
        ("capacity, events/s", f"{result.capacity:,.0f}"),
        ("target, events/s", f"{result.target:,.0f}"),
        ("published, events/s", f"{result.published:,.0f}"),
        ("events published", f"{result.events:,}"),
        ("frames checked (the others were filtered out)", f"{result.frames:,}"),
        ("received by healthy subscribers, MiB", f"{result.received_bytes / _MIB:,.0f}"),
        *((name, f"{count:,}") for name, count in result.counts.items()),
        ("server memory at the start, MiB", f"{memory['before'] / _MIB:.1f}"),
        ("- median of the second half", f"{memory['level'] / _MIB:.1f}"),
        ("- growth in the second half", f"{memory['growth'] / _MIB:+.2f}"),
        ("- after all have disconnected", f"{memory.get('after', 0) / _MIB:.1f}"),
        ("server descriptors at the start", f"{descriptors['before']:.0f}"),
        ("- median of the second half", f"{descriptors['level']:.0f}"),
        ("- growth in the second half", f"{descriptors['growth']:+.1f}"),
        ("- after all have disconnected", f"{descriptors.get('after', 0):.0f}"),
        ("server CPU seconds", f"{result.server_cpu_seconds:.0f}"),
        ("exit code after SIGTERM", str(result.exit_code)),
        ("violations", str(len(result.violations) + result.omitted_violations)),
    ]


def save(path: Path, parameters: Parameters, seed: int, result: Result) -> None:
    """Write the result, and what is needed to compare it with others, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "parameters": vars(parameters),
        "seed": seed,
        "machine": machine(),
        "passed": result.has_passed,
        "result": result.as_json(),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
