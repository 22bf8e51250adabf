"""The encryption keys: from ``RYZE_ENCRYPTION_KEY``, else from a key file that we create.

The file contains base64 text, one key per line; the setting contains the same, separated by
commas. The first key seals, all of them open: there are several during a key rotation.

The file is readable by its owner only. A file that others can read is rejected, because the keys
may be known by then. No message contains a key, or the text of a malformed one.

The file is never changed in place. A draft is complete on the disk before it is renamed, so a
crash at any moment leaves the old content or the new. No key that was ever in use is destroyed:
backups of the database need the keys of their time. Keys are written to ``ryze.key.old`` before
they are removed from ``ryze.key``.
"""

import base64
import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ryze.errors import KeyFileError

__all__ = [
    "LoadedKey",
    "add_key",
    "load_key",
    "lock_and_load_key",
    "new_key",
    "old_key_file",
    "retire_keys",
]

_KEY_BYTES = 32
_KEY_FILE_NAME = "ryze.key"

_EXPECTED = f"expected base64 of exactly {_KEY_BYTES} bytes, as `openssl rand -base64 32` makes it"
_MAX_FILE_BYTES = 65536  # a key takes 45; bounds the read if the path is not a key file
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """The encryption keys and their origin.

    Args:
        keys: 32 bytes each; the first one seals, all of them open.
        created: the key file was created by this call; the user should be told.
        path: the key file; None if the keys are from the setting.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    created: bool
    path: Path | None


def load_key(configured: str, data_dir: Path, *, create: bool = True) -> LoadedKey:
    """Load the encryption keys; at the first start, create the key file.

    Args:
        configured: the value of ``RYZE_ENCRYPTION_KEY``, empty if not set.
        data_dir: directory of the key file.
        create: create a missing file; False if tokens are sealed already.

    Raises:
        KeyFileError: a key is malformed, or the file is unreadable, not private or missing.
    """
    if configured.strip():
        keys = _decode_all(configured.split(","), "RYZE_ENCRYPTION_KEY", "key")
        return LoadedKey(keys, created=False, path=None)
    path = data_dir / _KEY_FILE_NAME
    with _key_file_errors(path):
        created = create and not path.exists() and _create(path)
        return LoadedKey(_read_keys(path), created, path)


def new_key() -> bytes:
    """Generate a key: 256 random bits."""
    return secrets.token_bytes(_KEY_BYTES)


# --- For rotation ---


@contextlib.contextmanager
def lock_and_load_key(configured: str, data_dir: Path) -> Iterator[LoadedKey]:
    """Load the keys and keep their file locked for the duration of the context.

    Args:
        configured: see `load_key`.
        data_dir: see `load_key`.

    Raises:
        KeyFileError: as `load_key`, or another rotation holds the lock.
    """
    path = data_dir / _KEY_FILE_NAME
    with contextlib.ExitStack() as stack:
        if not configured.strip():
            # Databases can share a key file. The directory is locked, since each change replaces
            # the file.
            with _key_file_errors(path):
                descriptor = os.open(_resolve(path).parent, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield load_key(configured, data_dir, create=False)


def add_key(path: Path, key: bytes) -> None:
    """Insert a key as the first one of the file.

    Raises:
        KeyFileError: the file cannot be read or replaced. No key is lost then.
    """
    with _key_file_errors(path):
        _replace(path, (key, *_read_keys(path)))


def retire_keys(path: Path) -> None:
    """Move all keys but the first one to the old key file.

    Raises:
        KeyFileError: one of the two files cannot be read or replaced. No key is lost then.
    """
    old = old_key_file(path)
    with _key_file_errors(path):
        first, *others = _read_keys(path)
    with _key_file_errors(old):
        retired = _read_keys(old) if old.exists() else ()
        # A rotation that was killed between the two files has written some of them already.
        _replace(old, tuple(dict.fromkeys((*others, *retired))), owner_of=_resolve(path))
    with _key_file_errors(path):
        _replace(path, (first,))


def old_key_file(path: Path) -> Path:
    """Return the path of the file with the keys retired from this key file."""
    real = _resolve(path)
    return real.with_name(f"{real.name}.old")


# --- Reading ---


@contextlib.contextmanager
def _key_file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise KeyFileError(
                f"cannot use the key file {path}: there is no directory {path.parent}"
            ) from error
        raise KeyFileError(
            f"there is no key file {path}: put back your copy of it, or set RYZE_ENCRYPTION_KEY "
            "to the key that the tokens were sealed with"
        ) from error
    except BlockingIOError:
        raise KeyFileError(f"another `ryze key rotate` uses {path}") from None
    except OSError as error:
        raise KeyFileError(f"cannot use the key file {path}: {error.strerror}") from error


def _read_keys(path: Path) -> tuple[bytes, ...]:
    # An empty file has one empty line, which is reported as a malformed key.
    lines = [line for line in _read(path).split("\n") if line.strip()] or [""]
    return _decode_all(lines, str(path), "line")


def _decode_all(texts: list[str], where: str, unit: str) -> tuple[bytes, ...]:
    if len(texts) == 1:
        return (_decode(texts[0], where),)
    keys = (_decode(text, f"{where}, {unit} {n}") for n, text in enumerate(texts, 1))
    return tuple(dict.fromkeys(keys))


def _decode(text: str, where: str) -> bytes:
    standard = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError:
        # Without its cause: that can quote the text.
        raise KeyFileError(f"{where} is not base64: {_EXPECTED}") from None
    if len(key) != _KEY_BYTES:
        raise KeyFileError(f"{where} holds {len(key)} bytes: {_EXPECTED}")
    return key


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & _GROUP_AND_OTHERS:
            raise KeyFileError(
                f"{path} can be used by others (mode {mode:04o}), expected 0600: "
                f"run `chmod 600 {path}`, and rotate the key if others may have read it"
            )
        content = os.read(descriptor, _MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise KeyFileError(f"{path} is longer than {_MAX_FILE_BYTES} bytes: {_EXPECTED}")
        return content.decode("ascii", "replace")
    finally:
        os.close(descriptor)


# --- Writing ---


def _create(path: Path) -> bool:
    """Create the key file; False if another process was faster.

    The file appears complete, and only once, so two first starts agree on one key.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        _write_private(draft, (new_key(),))
        os.link(draft, path)
        _sync_directory(path.parent)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    return True


def _replace(path: Path, keys: tuple[bytes, ...], *, owner_of: Path | None = None) -> None:
    """Replace the content of the file; its owner stays, so that root can rotate for the server."""
    real = _resolve(path)
    draft = real.with_name(f"{real.name}.draft")
    owner = os.stat(owner_of or real)
    # Left by a killed rotation. The name is fixed so that there is at most one such draft.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)
    _write_private(draft, keys, owner)
    os.replace(draft, real)
    _sync_directory(real.parent)


def _write_private(
    path: Path, keys: tuple[bytes, ...], owner: os.stat_result | None = None
) -> None:
    content = b"".join(base64.b64encode(key) + b"\n" for key in keys)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if owner is not None:
            os.fchown(descriptor, owner.st_uid, -1)
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resolve(path: Path) -> Path:
    # A symbolic link is kept; its target is replaced.
    return Path(os.path.realpath(path))
