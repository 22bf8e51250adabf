"""``python -m tests.soak --minutes 10``: exit code 0 without a violation, else 1."""

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
from tests.soak.server import running_server
from tests.soak.soak import Parameters, Soak

__all__ = ["main"]

_DEFAULTS = Parameters()


@click.command()
@click.option("--minutes", default=2.0, show_default=True, help="Duration, without start and end.")
@click.option(
    "--seed",
    default=None,
    type=int,
    help="Seed of all random choices; chosen and printed if not given.",
)
@click.option("--instances", default=_DEFAULTS.instances, show_default=True)
@click.option(
    "--stable",
    default=_DEFAULTS.stable,
    show_default=True,
    help="Healthy subscribers that stay connected, per instance.",
)
@click.option(
    "--churning",
    default=_DEFAULTS.churning,
    show_default=True,
    help="Subscribers that connect and disconnect, per instance.",
)
@click.option(
    "--slow",
    default=_DEFAULTS.slow,
    show_default=True,
    help="Subscribers that stop reading, per instance.",
)
@click.option("--temporary-instances", default=_DEFAULTS.temporary_instances, show_default=True)
@click.option("--bad-clients", default=_DEFAULTS.bad_clients, show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench/soak.json"),
    show_default=True,
    help="File for the result; the server's log is written beside it.",
)
def main(minutes: float, seed: int | None, output: Path, **counts: int) -> None:
    """Run a server under every kind of load at once, and report violations."""
    seed = random.randrange(1_000_000) if seed is None else seed
    parameters = Parameters(**counts)
    console.print(f"seed {seed}")
    raise_file_limit(1000 + parameters.subscribers)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ryze-soak-") as directory:
        try:
            with running_server(Path(directory)) as server, _progress() as show_progress:
                result = trio.run(Soak(server, parameters, seed, show_progress).run, 60 * minutes)
        finally:
            shutil.copy(server.log, output.with_suffix(".log"))
    show(result)
    save(output, parameters, seed, result)
    console.print(f"result: {output}, server log: {output.with_suffix('.log')}")
    sys.exit(0 if result.has_passed else 1)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line on standard error that shows the progress."""
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda text: bar.update(task, description=text)


if __name__ == "__main__":
    main()
