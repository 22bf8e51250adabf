"""The command line that all questions share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.notes import tell
from bench.peers import PEERS, Peer

__all__ = ["Options", "available", "common_options", "options"]

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Options:
    """What all questions have in common; see `common_options`."""

    peers: list[str]
    rounds: int
    seconds: float
    port: int
    output: Path


def common_options(*, peers: str, rounds: int, seconds: float) -> Callable[[Command], Command]:
    """The options of every question, with its own defaults."""
    rows = [
        click.option("--peers", default=peers, show_default=True, help="Names, or 'all'."),
        click.option("--rounds", default=rounds, show_default=True, help="Medians are of these."),
        click.option("--seconds", default=seconds, show_default=True, help="A measurement."),
        click.option("--port", default=0, help="Servers listen here; 0: on any free port."),
        click.option(
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("build/bench"),
            show_default=True,
            help="Where JSON and plots go.",
        ),
        click.option("--short", is_flag=True, help="Two rounds of a second: does it all work?"),
    ]

    def decorate(command: Command) -> Command:
        for row in reversed(rows):
            command = row(command)
        return command

    return decorate


def options(
    peers: str, rounds: int, seconds: float, port: int, output: Path, short: bool
) -> Options:
    """Make sense of what `common_options` has read."""
    names = list(PEERS) if peers == "all" else [name for name in peers.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise click.UsageError(f"no such peer: {unknown[0]} (there are: {', '.join(PEERS)})")
    if short:
        rounds, seconds = min(rounds, 2), min(seconds, 1.0)
    return Options(names, rounds, seconds, port, output)


def available(names: Sequence[str]) -> list[Peer]:
    """Those of the peers that can be started here; the others are told of, by name."""
    found = []
    for name in names:
        if reason := PEERS[name].is_available():
            tell(f"skipped {name}: {reason}")
        else:
            found.append(PEERS[name])
    return found
