"""``ryze account``: manage accounts and their tokens, directly in the database."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import trio

from ryze import store
from ryze.cli.command_group import CommandGroup, Failure
from ryze.cli.server_options import database_options, settings_from
from ryze.errors import AlreadyExists
from ryze.settings import Settings

__all__ = ["account"]

_T = TypeVar("_T")


@click.group(cls=CommandGroup)
def account() -> None:
    """Create accounts and replace their tokens.

    A TokenAccount is shown once; only its hash is stored. These commands open the database
    directly: they need no token, and work while a server is running.
    """


def _check_name(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise click.BadParameter("expected a name of printable characters")
    return name


@account.command("create")
@click.argument("name", default="default", callback=_check_name)
@click.option(
    "--max-instances",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Maximum number of instances.",
)
@database_options
def create_account(name: str, max_instances: int | None, **flags: str | None) -> None:
    """Create the account NAME (default: "default") and print its TokenAccount, once."""

    async def create(database: store.Database, token_hash: str) -> None:
        try:
            await database.write(store.insert_account, name, token_hash, max_instances)
        except AlreadyExists as error:
            raise Failure(f"account {name!r} exists already: choose another name") from error

    _issue_token(flags, name, create, must_exist=False)


@account.command("list")
@database_options
def list_accounts(**flags: str | None) -> None:
    """List all accounts: id, name and maximum number of instances, separated by tabs."""

    async def select(database: store.Database) -> list[store.Account]:
        return await database.read(store.select_accounts)

    for row in _with_database(settings_from(flags), select):
        limit = "no limit" if row.max_instances is None else str(row.max_instances)
        click.echo(f"{row.id}\t{row.name}\t{limit}")


@account.command("rotate")
@click.argument("name")
@database_options
def rotate_account(name: str, **flags: str | None) -> None:
    """Replace the TokenAccount of the account NAME and print the new one, once.

    A running server closes the connections opened with the old token. If the server is
    configured with RYZE_ACCOUNT_TOKEN, change that too: the next start would restore the old
    token.
    """

    async def rotate(database: store.Database, token_hash: str) -> None:
        named = [each for each in await database.read(store.select_accounts) if each.name == name]
        if not named:
            raise Failure(f"there is no account {name!r}: see `ryze account list`")
        await database.write(store.update_account_token, named[0].id, token_hash)

    _issue_token(flags, name, rotate)


def _issue_token(
    flags: dict[str, str | None],
    name: str,
    store_hash: Callable[[store.Database, str], Awaitable[None]],
    *,
    must_exist: bool = True,
) -> None:
    """Make a token, store its hash with `store_hash`, and print the token."""
    settings = settings_from(flags)
    token = store.new_token()
    token_hash = store.hash_token(token)
    _with_database(
        settings, lambda database: store_hash(database, token_hash), must_exist=must_exist
    )
    # Standard output is the token alone, so that `$(ryze account create)` works.
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
