"""``ryze serve``."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click
from setproctitle import setproctitle

from ryze.cli.server_options import options_for, settings_from
from ryze.settings import all_settings

__all__ = ["serve"]


@click.command()
@options_for(all_settings())
def serve(**flags: str | None) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Each setting is a flag or an environment variable; the flag wins. Prefer the variables for
    the two secrets: a flag stands in the process list until the server has started.
    """
    # First of all: it writes over the flags, so that no secret of theirs stays visible.
    setproctitle("ryze serve")
    with _held_signals():
        settings = settings_from(flags)
        # Only here, as this is the one command that needs the whole server.
        from ryze.app import run

        run(settings, os.environ.get("NOTIFY_SOCKET", ""))


@contextmanager
def _held_signals() -> Iterator[None]:
    """Keep a request to stop for `run`: one that comes while it is imported ends well too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
