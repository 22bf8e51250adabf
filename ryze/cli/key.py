"""``ryze key``: replace the key with which instance tokens are sealed."""

import sys
from functools import partial
from typing import Any

import click
import trio

from ryze import store
from ryze.cli.command_group import CommandGroup, Failure
from ryze.cli.server_options import database_options, settings_from
from ryze.settings import Settings

__all__ = ["key"]


@click.group(cls=CommandGroup)
def key() -> None:
    """Replace the key with which instance tokens are sealed.

    The key is RYZE_ENCRYPTION_KEY, or else the file ryze.key in the data directory. There is no
    flag for it: all users of this machine could read it in the process list.
    """


@key.command("rotate")
@database_options
def rotate_key(**flags: str | None) -> None:
    """Seal all instance tokens with a new key. Stop the server first.

    With a key file, this creates the new key, and moves the old one to ryze.key.old when no token
    needs it any more. With RYZE_ENCRYPTION_KEY, set both keys, the new one first:
    RYZE_ENCRYPTION_KEY=new,old. Afterwards the new one is sufficient.

    If interrupted, all tokens remain readable; run the command again to continue. The tokens
    themselves do not change, so clients are not affected. Earlier backups of the database need
    the old key.
    """
    # The key has no flag: it comes from the environment.
    settings = settings_from({**flags, "encryption_key": None})
    done = trio.run(_rotate_key, settings)
    if done.resumed and done.old_keys:
        click.echo("Continued an interrupted rotation.", err=True)
    click.echo(_old_key_advice(done, settings), err=True)
    click.echo(f"Re-sealed {done.resealed} of {done.total} tokens; key of all: {done.fingerprint}")


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
            f"{error.path} is in use by a server or another rotation: stop the server first, as "
            "it would continue to seal with the old key"
        ) from error


def _show_progress(bar: Any, done: int, total: int) -> None:
    bar.length = total
    bar.update(done - bar.pos)


def _old_key_advice(done: store.Rotation, settings: Settings) -> str:
    old = ", ".join(done.old_fingerprints)
    if done.old_keys:
        return (
            f"The old key {old} is now in {done.old_keys}: earlier backups need it. Delete the "
            "file when you have none left."
        )
    return (
        f"No token in {settings.database_url} needs the key {old}: keep only the first key in "
        "RYZE_ENCRYPTION_KEY, and a copy of the old one as long as you have earlier backups."
    )
