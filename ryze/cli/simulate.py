"""``ryze simulate``."""

from functools import partial
from typing import IO

import click
import trio

from ryze.cli.client_options import client_options, read_token

__all__ = ["simulate"]


def _read_rate(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise click.BadParameter("expected a number of events per second, such as 50 or 50/s")
    return rate


@click.command()
@click.argument("instance")
@click.option(
    "--rate",
    default="10/s",
    show_default=True,
    callback=_read_rate,
    metavar="N/s",
    help="Events per second.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Exit after this number of events.",
)
@click.option("--seed", type=int, metavar="NUMBER", help="The same seed gives the same events.")
@client_options
def simulate(
    instance: str,
    rate: float,
    count: int | None,
    seed: int | None,
    url: str,
    token_file: IO[str] | None,
) -> None:
    """Publish generated events to INSTANCE, as a busy phone would.

    Conversations with receipts, media, calls, group changes: all six event types. The rate drops
    where the server applies back-pressure. Prints its progress to standard error. Exits after
    --count events, or with 130 after Ctrl-C.

    The token is read from RYZE_TOKEN or from a file. There is no --token flag: all users of this
    machine could read it in the process list.
    """
    token = read_token(token_file)
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
