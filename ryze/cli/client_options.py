"""Flags of the commands that connect to a server: its URL and the token."""

import os
from collections.abc import Callable
from typing import IO, Any, TypeVar

import click

from ryze import client
from ryze.cli.command_group import Failure

__all__ = ["client_options", "read_token"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DEFAULT_URL = "http://127.0.0.1:8080"


def _check_url(_ctx: click.Context, _param: click.Parameter, url: str) -> str:
    try:
        client.ServerAddress.parse(url)
    except client.BadUrl as error:
        raise click.BadParameter(str(error)) from error
    return url


def client_options(command: _Command) -> _Command:
    """Add the flags ``--url`` and ``--token-file`` to a command."""
    url = click.option(
        "--url",
        default=_DEFAULT_URL,
        metavar="URL",
        envvar="RYZE_URL",
        show_default=True,
        show_envvar=True,
        callback=_check_url,
        help="URL of the server.",
    )
    token_file = click.option(
        "--token-file",
        type=click.File("r"),
        metavar="FILE",
        help="Read the token from FILE (- = standard input) instead of RYZE_TOKEN.",
    )
    return url(token_file(command))


def read_token(file: IO[str] | None) -> str:
    """Read the token from a file, else from RYZE_TOKEN.

    Raises:
        Failure: the file cannot be read.
        UsageError: there is no token.
    """
    try:
        token = os.environ.get("RYZE_TOKEN", "") if file is None else file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read the token file: {error}") from error
    if not token.strip():
        raise click.UsageError("No token: set RYZE_TOKEN, or give a --token-file.")
    return token
