"""``ryze listen``."""

from collections.abc import Callable
from functools import partial
from typing import IO

import click
import msgspec
import trio

from ryze import client
from ryze.cli.client_options import client_options, read_token

__all__ = ["listen"]


@click.command()
@click.argument("instance")
@client_options
@click.option("--pretty", is_flag=True, help="Print indented JSON.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Exit after this number of events.",
)
def listen(
    instance: str, url: str, token_file: IO[str] | None, pretty: bool, count: int | None
) -> None:
    """Print the events of INSTANCE, one per line.

    The token is read from RYZE_TOKEN or from a file. There is no --token flag: all users of this
    machine could read it in the process list.

    Reconnects when the connection is lost; events published meanwhile are not received. Prints
    its status to standard error. Exits with 130 after Ctrl-C.
    """
    trio.run(
        partial(
            client.listen,
            url,
            instance,
            read_token(token_file),
            on_frame=partial(_print_frame, _indent if pretty else _join_lines),
            on_status=partial(click.echo, err=True),
            count=count,
        )
    )


def _print_frame(convert: Callable[[str], str], frame: str) -> None:
    # As bytes: JSON is UTF-8, regardless of the locale. `echo` flushes.
    click.echo(convert(frame).encode())


def _join_lines(frame: str) -> str:
    # The producer's data is delivered byte for byte, line breaks between JSON tokens included.
    # JSON strings contain none.
    return frame.replace("\r", " ").replace("\n", " ")


def _indent(frame: str) -> str:
    try:
        return msgspec.json.format(frame, indent=2)
    except msgspec.DecodeError:
        return frame
