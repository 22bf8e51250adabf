"""``ryze demo``."""

import click

__all__ = ["demo"]


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="End after so long.",
)
def demo(seconds: float) -> None:
    """Show the whole thing at work: nothing to set up, nothing left behind.

    A server on a free port, two instances, simulated phones that publish, and listeners, one of
    which stops reading and is dropped. Everything is real, over loopback, and you can join in
    from another terminal. Ends by itself, or with Ctrl-C.
    """
    from ryze.playground.demo import run

    run(seconds)
