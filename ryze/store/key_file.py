"""Where the encryption keys come from: ``RYZE_ENCRYPTION_KEY``, else a file we make.

The file holds base64 text, a key a line; the setting holds the same with commas. The first
key seals, all of them open: there are several while tokens are sealed anew (``rotation``).

The file is readable by its owner only; we refuse one that others can read, because by then
the keys may be known. No message ever shows what a key, or the text that is not one, looks
like.

What is in the file is never changed in place. A draft is complete on the disk before it
takes the file's name, so whatever dies at whatever moment leaves the old content or the new.
And no key that was ever in use is destroyed here: a database's backups need the keys of
their time. Keys that are taken out of ``ryze.key`` are in ``ryze.key.old`` before.
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
    "locked_key",
    "new_key",
    "old_key_file",
    "retire_keys",
]

_KEY_BYTES = 32
_KEY_FILE_NAME = "ryze.key"

_EXPECTED = f"expected base64 of exactly {_KEY_BYTES} bytes, as `openssl rand -base64 32` makes it"
_MOST_BYTES = 65536  # a key takes 45; reading stops here whatever the file is
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """The keys, and what to tell the user about them.

    Attributes:
        keys: 32 bytes each; the first one seals, all of them open.
        created: the key was made just now, and the user should hear of the new file.
        path: the key file; None when the keys came from the settings.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    created: bool
    path: Path | None


def load_key(configured: str, data_dir: Path, *, make: bool = True) -> LoadedKey:
    """Find the encryption keys, or make one at the first start.

    Args:
        configured: the value of ``RYZE_ENCRYPTION_KEY``, empty when it is not set.
        data_dir: where the key file is, or shall be.
        make: whether a file that is not there is made; no, where tokens are sealed already.

    Raises:
        KeyFileError: a key is malformed, or the file is unreadable, not private or missing.
    """
    if configured.strip():
        keys = _decode_all(configured.split(","), "RYZE_ENCRYPTION_KEY", "key")
        return LoadedKey(keys, created=False, path=None)
    path = data_dir / _KEY_FILE_NAME
    with _key_file_errors(path):
        created = make and not path.exists() and _create(path)
        return LoadedKey(_read_keys(path), created, path)


def new_key() -> bytes:
    """Make a key: 256 random bits."""
    return secrets.token_bytes(_KEY_BYTES)


# --- For rotation ---


@contextlib.contextmanager
def locked_key(configured: str, data_dir: Path) -> Iterator[LoadedKey]:
    """Load keys that are in use; nobody else changes their file until the context ends.

    Args:
        configured: see ``load_key``.
        data_dir: see ``load_key``.

    Raises:
        KeyFileError: as ``load_key`` does, or somebody else is changing the file.
    """
    path = data_dir / _KEY_FILE_NAME
    with contextlib.ExitStack() as stack:
        if not configured.strip():
            # Databases may share a key file. Its directory is what can be locked: the file is
            # another one after each change.
            with _key_file_errors(path):
                descriptor = os.open(_real(path).parent, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield load_key(configured, data_dir, make=False)


def add_key(path: Path, key: bytes) -> None:
    """Make this the first key of the file.

    Raises:
        KeyFileError: the file cannot be read or replaced. No key is lost then.
    """
    with _key_file_errors(path):
        _replace(path, (key, *_read_keys(path)))


def retire_keys(path: Path) -> None:
    """Leave only the first key in the file; the others are in ``old_key_file`` before.

    Raises:
        KeyFileError: one of the two files cannot be read or replaced. No key is lost then.
    """
    old = old_key_file(path)
    with _key_file_errors(path):
        first, *others = _read_keys(path)
    with _key_file_errors(old):
        before = _read_keys(old) if old.exists() else ()
        # Found there already after a rotation that was killed between the two files.
        _replace(old, tuple(dict.fromkeys((*others, *before))), owner_of=_real(path))
    with _key_file_errors(path):
        _replace(path, (first,))


def old_key_file(path: Path) -> Path:
    """Where the keys are that were taken out of this key file."""
    real = _real(path)
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
    # An empty file is one empty line, which is no key.
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
        # Without its cause: that one may quote the text.
        raise KeyFileError(f"{where} is not base64: {_EXPECTED}") from None
    if len(key) != _KEY_BYTES:
        raise KeyFileError(f"{where} holds {len(key)} bytes: {_EXPECTED}")
    return key


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & _OTHERS:
            raise KeyFileError(
                f"{path} can be used by others (mode {mode:04o}), expected 0600: "
                f"run `chmod 600 {path}`, and think of who may have read it"
            )
        content = os.read(descriptor, _MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise KeyFileError(f"{path} is longer than {_MOST_BYTES} bytes: {_EXPECTED}")
        return content.decode("ascii", "replace")
    finally:
        os.close(descriptor)


# --- Writing ---


def _create(path: Path) -> bool:
    """Make the key file; False when another process was faster.

    The name is given only once, so two first starts agree on one key.
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
    """Give the file this content; the owner stays, so that root may do it for the server."""
    real = _real(path)
    draft = real.with_name(f"{real.name}.draft")
    owner = os.stat(owner_of or real)
    # What a killed one left. The name is fixed so that there is never more than one of them.
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


def _real(path: Path) -> Path:
    # A link stays a link: whoever made it expects the key where it points to.
    return Path(os.path.realpath(path))
