"""Command-line options that all questions share, and the types of their values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.events import MIN_EVENT_BYTES
from bench.peers import PEERS, Peer
from bench.progress import warn

__all__ = [
    "COUNT",
    "EVENT_BYTES",
    "POSITIVE",
    "CommonOptions",
    "common_options",
    "installed_peers",
    "option",
    "output_option",
    "parse_common_options",
    "parse_counts",
    "plot_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

COUNT = click.IntRange(1)
POSITIVE = click.FloatRange(0, min_open=True)
EVENT_BYTES = click.IntRange(MIN_EVENT_BYTES)

option = partial(click.option, show_default=True)

output_option = option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/bench"),
    help="Directory of the JSON files and plots.",
)

plot_option = option("--plot/--no-plot", default=True, help="Write plots as PNG and SVG.")


def parse_counts(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Parse an option such as "1,8,64" (a click callback)."""
    numbers = value.split(",")
    if not all(number.isdecimal() and int(number) for number in numbers):
        raise click.BadParameter(f"{value!r} is not a list of counts, such as 1,8,64")
    return [int(number) for number in numbers]


@dataclass(frozen=True)
class CommonOptions:
    """Values of the options that `common_options` adds."""

    peers: list[str]
    rounds: int
    seconds: float
    port: int
    output: Path
    # Figures of a short run must not be quoted.
    short: bool


def common_options(
    *, peers: str | None, rounds: int, seconds: float | None
) -> Callable[[Command], Command]:
    """Add the common options to a command, with its own defaults; None leaves an option out."""
    decorators = [
        option("--rounds", type=COUNT, default=rounds, help="Rounds; results are their medians."),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=0,
            help="Port of the first server; further ones take the next ports. 0: any free port.",
        ),
        output_option,
        click.option(
            "--short", is_flag=True, help="At most 2 rounds of 1 s, to see that everything works."
        ),
    ]
    if seconds is not None:
        decorators.insert(
            0, option("--seconds", type=POSITIVE, default=seconds, help="Seconds per measurement.")
        )
    if peers is not None:
        decorators.insert(
            0, option("--peers", default=peers, help="Servers, comma-separated, or 'all'.")
        )

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def parse_common_options(
    rounds: int, port: int, output: Path, short: bool, peers: str = "", seconds: float = 0
) -> CommonOptions:
    """Check the values of the common options, and apply ``--short``.

    Raises:
        click.UsageError: there is no peer of that name.
    """
    names = list(PEERS) if peers == "all" else [name for name in peers.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise click.UsageError(f"no such peer: {unknown[0]} (there are: {', '.join(PEERS)})")
    if short:
        rounds, seconds = min(rounds, 2), min(seconds, 1.0)
    return CommonOptions(names, rounds, seconds, port, output, short)


def installed_peers(names: Sequence[str]) -> list[Peer]:
    """Return the peers that can be started here; warn about the others."""
    installed = []
    for name in names:
        if hint := PEERS[name].install_hint():
            warn(f"skipped {name}: {hint}")
        else:
            installed.append(PEERS[name])
    return installed
