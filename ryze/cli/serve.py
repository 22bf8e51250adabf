"""``ryze serve``."""

import os

import click
from setproctitle import setproctitle

from ryze.cli.server_options import options_for, settings_from
from ryze.settings import all_settings
from ryze.signals import hold_stop_signals

__all__ = ["serve"]


@click.command()
@options_for(all_settings())
def serve(**flags: str | None) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Each setting is a flag or an environment variable; the flag wins. Set the two secrets with
    variables: a flag is visible in the process list until the server has started.
    """
    # First: it overwrites the flags, so that no secret among them stays visible.
    setproctitle("ryze serve")
    # From here on, as the import takes long enough for a signal to arrive.
    with hold_stop_signals():
        settings = settings_from(flags)
        # Not at the top: no other command needs the whole server.
        from ryze.app import run

        run(settings, os.environ.get("NOTIFY_SOCKET", ""))
