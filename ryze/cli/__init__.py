"""The ``ryze`` command.

The commands are thin: parse the arguments, call one function, print its result. Errors of ours
become one line on standard error and an exit code, in one place (`command_group.CommandGroup`):

    0    success
    1    failure; the line gives the reason
    2    wrong usage, including an invalid setting
    130  Ctrl-C, as shells expect it

command_group   exit codes, interrupts and closed pipes, for all commands
server_options  flags for settings
client_options  flags of the commands that connect to a server
one module per command: serve, account, key, listen, publish, simulate, demo

This is the edge of the program: ``os.environ`` is read here and nowhere below.
"""

import click

from ryze import __version__
from ryze.cli import account, demo, key, listen, publish, serve, simulate
from ryze.cli.command_group import CommandGroup

__all__ = ["cli", "main"]


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ryze", message="%(prog)s %(version)s")
def cli() -> None:
    """Ryze: a self-hosted, real-time event gateway.

    Enable the WebSocket of an instance and publish events: all its subscribers receive them.
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
