"""``python -m tests.soak --minutes 10``: exit code 0 if nothing went wrong, else 1."""

import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import trio
from rich.progress import Progress, SpinnerColumn, TextColumn

from bench.machine import raise_file_limit
from bench.progress import console
from tests.soak.report import save, show
from tests.soak.server import running
from tests.soak.soak import Cast, Soak

__all__ = ["main"]

_DEFAULTS = Cast()


@click.command()
@click.option("--minutes", default=2.0, show_default=True, help="How long, besides start and end.")
@click.option("--seed", default=None, type=int, help="Of all that is random; told if not given.")
@click.option("--instances", default=_DEFAULTS.instances, show_default=True)
@click.option("--residents", default=_DEFAULTS.residents, show_default=True, help="An instance.")
@click.option("--visitors", default=_DEFAULTS.visitors, show_default=True, help="An instance.")
@click.option("--sleepers", default=_DEFAULTS.sleepers, show_default=True, help="An instance.")
@click.option("--guests", default=_DEFAULTS.guests, show_default=True)
@click.option("--vandals", default=_DEFAULTS.vandals, show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench/soak.json"),
    show_default=True,
    help="Where the result goes, and the server's log beside it.",
)
def main(minutes: float, seed: int | None, output: Path, **cast: int) -> None:
    """Run a server under everything at once, and see that nothing goes wrong."""
    seed = random.randrange(1_000_000) if seed is None else seed
    who = Cast(**cast)
    console.print(f"seed {seed}")
    raise_file_limit(1000 + who.instances * (who.residents + who.visitors + who.sleepers))
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ryze-soak-") as directory:
        try:
            with running(Path(directory)) as server, _progress() as tell:
                result = trio.run(Soak(server, who, seed, tell).run, 60 * minutes)
        finally:
            shutil.copy(server.log, output.with_suffix(".log"))
    show(result)
    save(output, who, seed, result)
    console.print(f"written: {output}, and the server's log beside it")
    sys.exit(0 if result.is_well else 1)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line that says how it goes."""
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda text: bar.update(task, description=text)


if __name__ == "__main__":
    main()
