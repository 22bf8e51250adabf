"""The command line that all questions share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.events import SMALLEST_EVENT
from bench.peers import PEERS, Peer
from bench.progress import tell

__all__ = [
    "COUNT",
    "EVENT_BYTES",
    "POSITIVE",
    "Options",
    "available",
    "common_options",
    "counts",
    "option",
    "options",
]

Command = TypeVar("Command", bound=Callable[..., Any])


# What a question may be asked about: so many, more than none of it, and the size of an event.
COUNT = click.IntRange(1)
POSITIVE = click.FloatRange(0, min_open=True)
EVENT_BYTES = click.IntRange(SMALLEST_EVENT)

option = partial(click.option, show_default=True)


def counts(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """The callback of an option that takes several counts, as in "1,8,64"."""
    numbers = value.split(",")
    if not all(number.isdecimal() and int(number) for number in numbers):
        raise click.BadParameter(f"{value!r} is not a list of counts, such as 1,8,64")
    return [int(number) for number in numbers]


@dataclass(frozen=True)
class Options:
    """What all questions have in common; see `common_options`."""

    peers: list[str]
    rounds: int
    seconds: float
    port: int
    output: Path
    # Figures of a short run are not to be quoted.
    short: bool


def common_options(
    *, peers: str | None, rounds: int, seconds: float | None
) -> Callable[[Command], Command]:
    """The options of every question, with its own defaults; None: it has no such option."""
    rows = [
        option("--rounds", type=COUNT, default=rounds, help="Medians are of these."),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=0,
            help="Of the server; those that run beside it have the next ones. 0: any.",
        ),
        option(
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("build/bench"),
            help="Where JSON and plots go.",
        ),
        click.option("--short", is_flag=True, help="Two rounds of a second: does it all work?"),
    ]
    if seconds is not None:
        rows.insert(0, option("--seconds", type=POSITIVE, default=seconds, help="A measurement."))
    if peers is not None:
        rows.insert(0, option("--peers", default=peers, help="Names, or 'all'."))

    def decorate(command: Command) -> Command:
        for row in reversed(rows):
            command = row(command)
        return command

    return decorate


def options(
    rounds: int, port: int, output: Path, short: bool, peers: str = "", seconds: float = 0
) -> Options:
    """Make sense of what `common_options` has read."""
    names = list(PEERS) if peers == "all" else [name for name in peers.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise click.UsageError(f"no such peer: {unknown[0]} (there are: {', '.join(PEERS)})")
    if short:
        rounds, seconds = min(rounds, 2), min(seconds, 1.0)
    return Options(names, rounds, seconds, port, output, short)


def available(names: Sequence[str]) -> list[Peer]:
    """Those of the peers that can be started here; the others are told of, by name."""
    found = []
    for name in names:
        if reason := PEERS[name].is_available():
            tell(f"skipped {name}: {reason}")
        else:
            found.append(PEERS[name])
    return found
