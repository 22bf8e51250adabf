"""The ``ryze`` command.

The commands are thin: read the arguments, call one function, print its result. Errors of ours
become one line on standard error and an exit code, in one place (`base.Commands`):

    0    done
    1    it failed, and the line says why
    2    wrong usage, a setting that is not what it must be among it
    130  Ctrl-C, as shells expect it

base              what holds for all commands
server_options    flags for settings
client_options    flags for those that talk to a server
one module for each command: serve, account, key, listen, publish, simulate, demo

This is the edge of the program: ``os.environ`` is read here and nowhere below.
"""

import click

from ryze import __version__
from ryze.cli import account, demo, key, listen, publish, serve, simulate
from ryze.cli.command_group import Commands

__all__ = ["cli", "main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ryze", message="%(prog)s %(version)s")
def cli() -> None:
    """Ryze: a self-hosted, real-time event gateway.

    Configure an instance's WebSocket, publish events, and every client gets them at once.
    """


def main() -> None:
    """Run the ``ryze`` command and exit."""
    cli(prog_name="ryze")


for _command in (
    account.account,
    demo.demo,
    key.key,
    listen.listen,
    publish.publish,
    serve.serve,
    simulate.simulate,
):
    cli.add_command(_command)
