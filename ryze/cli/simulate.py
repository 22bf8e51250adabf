"""``ryze simulate``."""

from functools import partial
from typing import IO

import click
import trio

from ryze.cli.client_options import client_options, token_from

__all__ = ["simulate"]


def _read_rate(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise click.BadParameter("expected a number of events a second, such as 50 or 50/s")
    return rate


@click.command()
@click.argument("instance")
@click.option(
    "--rate",
    default="10/s",
    show_default=True,
    callback=_read_rate,
    metavar="N/s",
    help="How many events a second.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--seed", type=int, help="The same number gives the same events.")
@client_options
def simulate(
    instance: str,
    rate: float,
    count: int | None,
    seed: int | None,
    url: str,
    token_file: IO[str] | None,
) -> None:
    """Publish made-up traffic to INSTANCE: what a busy phone would send.

    Conversations with their receipts, media, calls, group changes: all six types of events, at
    the chosen rate, as long as the server keeps up. Ends after --count events, or with 130 after
    Ctrl-C. Progress goes to standard error.

    The token is taken from RYZE_TOKEN or from a file. There is no --token flag: everybody on
    this machine could read it in the process list.
    """
    token = token_from(token_file)
    from rich.console import Console

    from ryze.playground.simulate import simulate as publish_traffic

    console = Console(stderr=True)
    trio.run(
        partial(
            publish_traffic,
            url,
            instance,
            token,
            rate=rate,
            count=count,
            seed=seed,
            console=console,
        )
    )
