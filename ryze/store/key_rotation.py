"""Key rotation: sealing all tokens with a new key, safe to interrupt at any step.

With a key file:

    1  check    every token opens with the keys in the file, else nothing is changed
    2  add      a new key becomes the first line of ryze.key: it seals, the old one still opens
    3  seal     batch by batch, each a transaction that is synced to disk when it ends
    4  check    every token opens with the new key alone
    5  retire   the old key is written to ryze.key.old, then removed from ryze.key

Invariant: each token opens with a key in ryze.key. So a server can start after an interruption,
and the next rotation resumes: more than one key in the file means an unfinished rotation, which
continues with these keys at step 3.

With RYZE_ENCRYPTION_KEY the user does steps 2 and 5: ``new,old`` before, ``new`` after.

No server may run meanwhile. It knows the old key only, and would seal tokens with it that no key
opens after step 5; so the database is opened exclusively, as a server does for its lifetime.
Rejected: let it run and keep the old key, which would need a second rotation.

The old key is kept for older backups and for other databases that share the key file. Only the
user knows of those, and can remove ryze.key.old.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ryze.errors import KeyFileError
from ryze.store.database import Database
from ryze.store.key_file import (
    LoadedKey,
    add_key,
    lock_and_load_key,
    new_key,
    old_key_file,
    retire_keys,
)
from ryze.store.queries import select_instances, update_instance_seals
from ryze.store.sealing import TokenCipher

__all__ = ["Rotation", "rotate_key"]

# About 10 ms per batch: short enough for progress and Ctrl-C, long enough to amortize its fsync.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Rotation:
    """The result of a rotation.

    Args:
        resealed: number of tokens that were re-sealed.
        total: number of all tokens.
        fingerprint: fingerprint of the key that all tokens are sealed with now.
        old_fingerprints: fingerprints of the keys that are no longer needed.
        resumed: it finished an earlier, interrupted rotation.
        old_keys: the file with the retired keys; None if the keys are in the setting.
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
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Rotation:
    """Seal all tokens with a new key.

    Cancellation: all tokens stay readable, as after a crash, and the next call resumes.

    Args:
        database: opened with ``exclusive``.
        configured: the value of ``RYZE_ENCRYPTION_KEY``, empty if not set.
        data_dir: directory of the key file.
        on_progress: called with the number of tokens done, and of all.

    Raises:
        KeyFileError: the keys are malformed or missing, or a token opens with none of them.
        StoreError: the database cannot be read or written.
    """
    # Blocking file access is fine here: the command runs no other tasks.
    with lock_and_load_key(configured, data_dir) as key:
        resumed = len(key.keys) > 1
        total = await _count_readable(database, TokenCipher(*key.keys))
        keys = key.keys if resumed else _add_new_key(key)
        cipher = TokenCipher(*keys)
        resealed = await _seal_all(database, cipher, lambda done: on_progress(done, total))
        await _count_readable(database, TokenCipher(keys[0]))
        if key.path is not None:
            retire_keys(key.path)
    fingerprint, *old = cipher.fingerprints
    old_keys = None if key.path is None else old_key_file(key.path)
    return Rotation(resealed, total, fingerprint, tuple(old), resumed, old_keys)


async def _count_readable(database: Database, cipher: TokenCipher) -> int:
    """Open every token, as a server does at its start; raises if one does not open."""
    return len(await database.read(select_instances, cipher))


def _add_new_key(key: LoadedKey) -> tuple[bytes, ...]:
    """Insert a new key before the current one."""
    if key.path is None:
        raise KeyFileError(
            "RYZE_ENCRYPTION_KEY holds one key: put a new one before it, separated by a comma "
            "(new,old; `openssl rand -base64 32` makes one), and run the rotation again"
        )
    keys = (new_key(), *key.keys)
    TokenCipher(*keys)  # raises for equal fingerprints, before the key is in the file
    add_key(key.path, keys[0])
    return keys


async def _seal_all(database: Database, cipher: TokenCipher, on_done: Callable[[int], None]) -> int:
    last_id = done = resealed = 0
    on_done(done)
    while batch := await database.write(update_instance_seals, cipher, last_id, _BATCH):
        last_id = batch.last_id
        done += batch.examined
        resealed += batch.resealed
        on_done(done)
    return resealed
