"""Flags of the commands that talk to a server: where it is, and with which token."""

import os
from collections.abc import Callable
from typing import IO, Any, TypeVar

import click

from ryze import client
from ryze.cli.command_group import Failure

__all__ = ["client_options", "token_from"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DEFAULT_URL = "http://127.0.0.1:8080"


def _check_url(_ctx: click.Context, _param: click.Parameter, url: str) -> str:
    try:
        client.ServerAddress.parse(url)
    except client.BadUrl as error:
        raise click.BadParameter(str(error)) from error
    return url


def client_options(command: _Command) -> _Command:
    """Give a command the flags ``--url`` and ``--token-file``."""
    url = click.option(
        "--url",
        default=_DEFAULT_URL,
        envvar="RYZE_URL",
        show_default=True,
        show_envvar=True,
        callback=_check_url,
        help="The server.",
    )
    token_file = click.option(
        "--token-file",
        type=click.File("r"),
        metavar="FILE",
        help="Read the token from here (- = standard input) and not from RYZE_TOKEN.",
    )
    return url(token_file(command))


def token_from(file: IO[str] | None) -> str:
    """The token in this file, else in RYZE_TOKEN.

    Raises:
        Failure: the file cannot be read.
        UsageError: there is none.
    """
    try:
        token = os.environ.get("RYZE_TOKEN", "") if file is None else file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read the token file: {error}") from error
    if not token.strip():
        raise click.UsageError("There is no token: set RYZE_TOKEN, or give a --token-file.")
    return token
