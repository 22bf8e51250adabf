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
    help="Duration.",
)
def demo(seconds: float) -> None:
    """Run a demonstration with a temporary server.

    A server on a free port, two instances with a producer each, and four subscribers, one of
    which stops reading and is evicted. Everything runs in this process, over loopback, and is
    deleted at the end. You can connect from another terminal. Ends after --seconds, or with
    Ctrl-C.
    """
    from ryze.playground.demo import run

    run(seconds)
