"""``ryze listen``."""

from collections.abc import Callable
from functools import partial
from typing import IO

import click
import msgspec
import trio

from ryze import client
from ryze.cli.client_options import client_options, token_from

__all__ = ["listen"]


@click.command()
@click.argument("instance")
@client_options
@click.option("--pretty", is_flag=True, help="Indented JSON, over several lines.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
def listen(
    instance: str, url: str, token_file: IO[str] | None, pretty: bool, count: int | None
) -> None:
    """Print the events of INSTANCE as they come, one a line.

    The token is taken from RYZE_TOKEN or from a file. There is no --token flag: everybody on
    this machine could read it in the process list.

    Lost connections are made anew. What is published meanwhile is not received. Ends with 130
    after Ctrl-C. Status goes to standard error.
    """
    trio.run(
        partial(
            client.listen,
            url,
            instance,
            token_from(token_file),
            on_frame=partial(_print_frame, _pretty if pretty else _in_one_line),
            on_status=partial(click.echo, err=True),
            count=count,
        )
    )


def _print_frame(form: Callable[[str], str], frame: str) -> None:
    # As bytes, since JSON is UTF-8 whatever the terminal's locale says. `echo` flushes.
    click.echo(form(frame).encode())


def _in_one_line(frame: str) -> str:
    # What a producer sends comes through byte for byte, line breaks between its tokens too;
    # inside JSON strings there are none.
    return frame.replace("\r", " ").replace("\n", " ")


def _pretty(frame: str) -> str:
    try:
        return msgspec.json.format(frame, indent=2)
    except msgspec.DecodeError:
        return frame
