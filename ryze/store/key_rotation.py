"""Sealing all tokens with a new key, so that an interruption anywhere does no harm.

With a key file:

    1  look     every token opens with the keys in the file, else nothing is touched
    2  add      a new key becomes the first line of ryze.key: it seals, the old one still opens
    3  seal     batch by batch, each one a transaction that is on the disk when it ends
    4  look     every token opens with the new key alone
    5  retire   the old key goes to ryze.key.old, then out of ryze.key

What is true at every moment: each token opens with a key in ryze.key. So a server can start
after an interruption, and the next rotation goes on: more than one key in the file means that
one was begun, and it is finished with the key that it has, at step 3.

With RYZE_ENCRYPTION_KEY the person does 2 and 5: ``new,old`` before, ``new`` after.

A server must not run meanwhile. It knows the old key only and would seal with it what no key
opens after step 5; so the database is opened with ``exclusive``, which a server holds as long as
it lives. Rejected: to let it run and keep the old key, which would need a second rotation.

The old key is kept, for backups made before and for other databases that share the key file.
Removing ryze.key.old is up to the person, who alone knows of those.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ryze.errors import KeyFileError
from ryze.store.database import Database
from ryze.store.key_file import LoadedKey, add_key, locked_key, new_key, old_key_file, retire_keys
from ryze.store.queries import select_instances, update_instance_seals
from ryze.store.sealing import TokenCipher

__all__ = ["Rotation", "rotate_key"]

# Some 10 ms: short enough for progress and Ctrl-C, long enough to hide its fsync.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation has done.

    Attributes:
        resealed: how many tokens were sealed anew.
        total: how many there are.
        fingerprint: of the key that all of them are sealed with now.
        old_fingerprints: of the keys that none of them needs any more.
        resumed: it finished one that was begun before.
        old_keys: the file that the old keys were put in; None if they stand in the setting.
    """

    resealed: int
    total: int
    fingerprint: str
    old_fingerprints: tuple[str, ...]
    resumed: bool
    old_keys: Path | None


async def rotate_key(
    database: Database,
    configured: str,
    data_dir: Path,
    *,
    on_progress: Callable[[int, int], None] = lambda _looked_at, _total: None,
) -> Rotation:
    """Seal all tokens with a new key.

    Cancelled, or killed at any point, it leaves all tokens readable, and can be called again.

    Args:
        database: opened with ``exclusive``.
        configured: the value of ``RYZE_ENCRYPTION_KEY``, empty when it is not set.
        data_dir: where the key file is.
        on_progress: is told how many tokens are done, of how many.

    Raises:
        KeyFileError: the keys are malformed or missing, or a token opens with none of them.
        StoreError: the database cannot be read or written.
    """
    # The key file is written without a thread: nobody runs here whom that could keep waiting.
    with locked_key(configured, data_dir) as key:
        resumed = len(key.keys) > 1
        total = await _count_readable(database, TokenCipher(*key.keys))
        keys = key.keys if resumed else _begin(key)
        cipher = TokenCipher(*keys)
        resealed = await _seal_all(database, cipher, lambda done: on_progress(done, total))
        await _count_readable(database, TokenCipher(keys[0]))
        if key.path is not None:
            retire_keys(key.path)
    fingerprint, *old = cipher.fingerprints
    old_keys = None if key.path is None else old_key_file(key.path)
    return Rotation(resealed, total, fingerprint, tuple(old), resumed, old_keys)


async def _count_readable(database: Database, cipher: TokenCipher) -> int:
    """Read every token, as a server does at its start: raises if one does not open."""
    return len(await database.read(select_instances, cipher))


def _begin(key: LoadedKey) -> tuple[bytes, ...]:
    """Put a new key before the one there is."""
    if key.path is None:
        raise KeyFileError(
            "RYZE_ENCRYPTION_KEY holds one key: put a new one before it, with a comma between "
            "(new,old; `openssl rand -base64 32` makes one), and call this again"
        )
    keys = (new_key(), *key.keys)
    TokenCipher(*keys)  # raises if they do not go together, before they are in the file
    add_key(key.path, keys[0])
    return keys


async def _seal_all(database: Database, cipher: TokenCipher, on_done: Callable[[int], None]) -> int:
    last_id = done = resealed = 0
    on_done(done)
    while batch := await database.write(update_instance_seals, cipher, last_id, _BATCH):
        last_id = batch.last_id
        done += batch.looked_at
        resealed += batch.resealed
        on_done(done)
    return resealed
