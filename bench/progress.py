"""What the person in front of it is told while a question runs, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["Trouble", "notes", "progress", "tell"]

# Rows go to standard output, everything else here.
notes = Console(stderr=True)


class Trouble(Exception):
    """One measurement cannot be made; the message is one line that says what to do.

    A peer that is not installed, a port in use, too few file descriptors: it is told, and the
    rest of the run goes on.
    """


def tell(text: str) -> None:
    """Tell the person in front of it, in one line."""
    notes.print(text, style="yellow", markup=False, soft_wrap=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; call what it gives at the beginning of each, with its name."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=notes, transient=True) as bar:
        task = bar.add_task(title, total=total + 1, completed=0)

        def step(name: str) -> None:
            bar.update(task, advance=1, description=f"{title}: {name}")

        yield step
