"""Output of results: a table on standard output, a JSON file, plots."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from bench.machine import machine
from bench.peers import PEERS
from bench.progress import console

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["format_bytes", "format_ratio", "print_table", "save_plot", "save_results"]

# Width of a table in a file or pipe, where it need not fit a terminal.
_FILE_WIDTH = 160


def format_ratio(value: float, base: float) -> str:
    """Format value / base, such as "1.35 x"; "-" if one of them was not measured."""
    return f"{value / base:.2f} x" if value and base else "-"


def format_bytes(count: float) -> str:
    """Format a size with the largest fitting unit, such as "9.5 KiB"."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output, if it has rows."""
    rows = list(rows)
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else _FILE_WIDTH).print(table)


def save_results(output: Path, question: str, parameters: dict[str, Any], results: Any) -> None:
    """Write the JSON file of a question: results, parameters, machine and versions.

    Raises:
        click.ClickException: there are no results; an existing file stays as it is.
    """
    if not any(results.values() if isinstance(results, dict) else results):
        raise click.ClickException("nothing was measured")
    output.mkdir(parents=True, exist_ok=True)
    versions = {name: peer.version() for name, peer in PEERS.items() if not peer.install_hint()}
    document = {
        "question": question,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": parameters,
        "machine": machine(),
        "versions": versions,
        "results": results,
    }
    path = output / f"{question}.json"
    path.write_text(json.dumps(document, indent=1, default=str) + "\n")
    console.print(f"wrote {path}")


def save_plot(
    output: Path, name: str, draw: "Callable[[Sequence[Axes]], None]", panels: int = 1
) -> None:
    """Draw into `panels` axes, one below the other, and write them as PNG and SVG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        panels, figsize=(9, 3.2 * panels + 1.2), layout="constrained", squeeze=False
    )
    draw([row[0] for row in axes])
    for kind in ("png", "svg"):
        figure.savefig(output / f"{name}.{kind}", dpi=120)
    pyplot.close(figure)
    console.print(f"wrote {output / name}.png and .svg")
