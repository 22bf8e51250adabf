"""How results are shown: a table for people, JSON for programs, plots for both."""

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
from bench.progress import notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bytes_text", "ratio_text", "save", "save_plot", "show"]


def ratio_text(ours: float, theirs: float) -> str:
    """How many times theirs ours is; a dash where one of them was not measured."""
    return f"{ours / theirs:.2f} x" if ours and theirs else "-"


def bytes_text(count: float) -> str:
    """In the unit that suits."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output, if it has rows."""
    rows = list(rows)
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    # Where nobody looks at it, a table need not fit the screen.
    console = Console()
    Console(width=None if console.is_terminal else 160).print(table)


def save(output: Path, question: str, parameters: dict[str, Any], results: Any) -> None:
    """Write results with all that is needed to judge them later.

    Raises:
        click.ClickException: there are none; what was written before stays.
    """
    if not any(results.values() if isinstance(results, dict) else results):
        raise click.ClickException("nothing was measured")
    output.mkdir(parents=True, exist_ok=True)
    versions = {name: peer.version() for name, peer in PEERS.items() if not peer.is_available()}
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
    notes.print(f"written: {path}")


def save_plot(
    output: Path, name: str, draw: "Callable[[Sequence[Axes]], None]", panels: int = 1
) -> None:
    """Draw into `panels` axes below each other, and write PNG and SVG."""
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
    notes.print(f"drawn: {output / name}.png, .svg")
