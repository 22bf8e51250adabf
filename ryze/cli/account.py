"""``ryze account``: accounts and their tokens, in the database itself."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import trio

from ryze import store
from ryze.cli.command_group import Commands, Failure
from ryze.cli.server_options import database_options, settings_from
from ryze.errors import AlreadyExists
from ryze.settings import Settings

__all__ = ["account"]

_T = TypeVar("_T")


@click.group(cls=Commands)
def account() -> None:
    """Create accounts and change their tokens, also while a server runs.

    A TokenAccount is shown once, and only its hash is kept. These commands work on the database
    itself, so they need no token.
    """


def _check_name(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise click.BadParameter("expected a name of printable characters")
    return name


@account.command("create")
@click.argument("name", default="default", callback=_check_name)
@click.option("--max-instances", type=click.IntRange(min=0), help="No more instances than this.")
@database_options
def create_account(name: str, max_instances: int | None, **flags: str | None) -> None:
    """Create the account NAME ("default" if not given) and print its TokenAccount, once."""

    async def create(database: store.Database, token_hash: str) -> None:
        try:
            await database.write(store.insert_account, name, token_hash, max_instances)
        except AlreadyExists as error:
            raise Failure(f"there is an account {name!r} already") from error

    _give_token(flags, name, create, must_exist=False)


@account.command("list")
@database_options
def list_accounts(**flags: str | None) -> None:
    """List all accounts: number, name, and how many instances it may have."""

    async def select(database: store.Database) -> list[store.Account]:
        return await database.read(store.select_accounts)

    for found in _with_database(settings_from(flags), select):
        limit = "no limit" if found.max_instances is None else str(found.max_instances)
        click.echo(f"{found.id}\t{found.name}\t{limit}")


@account.command("rotate")
@click.argument("name")
@database_options
def rotate_account(name: str, **flags: str | None) -> None:
    """Give the account NAME a new TokenAccount and print it, once. The old one is void.

    A server that runs ends the connections that the old one opened. If it gets
    RYZE_ACCOUNT_TOKEN, change that too: the next start would give the old token back.
    """

    async def rotate(database: store.Database, token_hash: str) -> None:
        named = [each for each in await database.read(store.select_accounts) if each.name == name]
        if not named:
            raise Failure(f"there is no account {name!r}")
        await database.write(store.update_account_token, named[0].id, token_hash)

    _give_token(flags, name, rotate)


def _give_token(
    flags: dict[str, str | None],
    name: str,
    work: Callable[[store.Database, str], Awaitable[None]],
    *,
    must_exist: bool = True,
) -> None:
    """Let `work` store the hash of a new token, then show the token this once."""
    settings = settings_from(flags)
    token = store.new_token()
    token_hash = store.hash_token(token)
    _with_database(settings, lambda database: work(database, token_hash), must_exist=must_exist)
    # Only the token goes to standard output, so that `$(ryze account create)` works.
    click.echo(f"TokenAccount of {name!r} in {settings.database_url}, not shown again:", err=True)
    click.echo(token)


def _with_database(
    settings: Settings,
    work: Callable[[store.Database], Awaitable[_T]],
    *,
    must_exist: bool = True,
) -> _T:
    async def run() -> _T:
        async with store.open_database(settings.database_url, must_exist=must_exist) as database:
            return await work(database)

    return trio.run(run)
