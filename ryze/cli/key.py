"""``ryze key``: the key that instance tokens are sealed with."""

import sys
from functools import partial
from typing import Any

import click
import trio

from ryze import store
from ryze.cli.command_group import Commands, Failure
from ryze.cli.server_options import database_options, settings_from
from ryze.settings import Settings

__all__ = ["key"]


@click.group(cls=Commands)
def key() -> None:
    """Change the key that instance tokens are sealed with.

    The key is RYZE_ENCRYPTION_KEY, or else stands in ryze.key in the data directory. There is
    no flag for it: everybody on this machine could read it in the process list.
    """


@key.command("rotate")
@database_options
def rotate_key(**flags: str | None) -> None:
    """Seal all instance tokens with a new key. Stop the server first.

    With a key file, this makes the new key, and moves the old one to ryze.key.old when no token
    needs it any more. With RYZE_ENCRYPTION_KEY, put the new key before the old one, with a comma
    between: RYZE_ENCRYPTION_KEY=new,old. Afterwards the new one is enough.

    Interrupted at any moment it leaves every token readable; call it again and it goes on.
    Clients notice nothing: the tokens stay the same. Backups of the database made before need
    the old key.
    """
    # The key comes from the environment alone.
    settings = settings_from({**flags, "encryption_key": None})
    done = trio.run(_rotate_key, settings)
    if done.resumed and done.old_keys:
        click.echo("Went on with the rotation that was begun before.", err=True)
    click.echo(_what_of_the_old_key(done, settings), err=True)
    click.echo(f"Re-sealed {done.resealed} of {done.total} tokens, all have {done.fingerprint} now")


async def _rotate_key(settings: Settings) -> store.Rotation:
    try:
        async with store.open_database(
            settings.database_url, exclusive=True, must_exist=True
        ) as database:
            with click.progressbar(length=0, label="Sealing", file=sys.stderr) as bar:
                return await store.rotate_key(
                    database,
                    settings.encryption_key,
                    settings.data_dir,
                    on_progress=partial(_show_progress, bar),
                )
    except store.DatabaseInUse as error:
        raise Failure(
            f"{error.path} is in use by a server or another rotation: stop the server first, it "
            "would go on sealing with the old key"
        ) from error


def _show_progress(bar: Any, done: int, total: int) -> None:
    bar.length = total
    bar.update(done - bar.pos)


def _what_of_the_old_key(done: store.Rotation, settings: Settings) -> str:
    old = ", ".join(done.old_fingerprints)
    if done.old_keys:
        return (
            f"The old key {old} is in {done.old_keys} now: backups made before need it. Delete "
            "that file when there are none."
        )
    return (
        f"No token in {settings.database_url} needs {old}: keep only the first key in "
        "RYZE_ENCRYPTION_KEY, and a copy of the old one as long as there are backups from before."
    )
