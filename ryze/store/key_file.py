"""Where the encryption key comes from: ``RYZE_ENCRYPTION_KEY``, else a file we make.

The file holds the key as base64 text and is readable by its owner only; we refuse one
that others can read, because by then the key may be known. No message ever shows what
the key, or the text that is not one, looks like.
"""

import base64
import contextlib
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ryze.errors import KeyFileError

__all__ = ["LoadedKey", "load_key"]

KEY_BYTES = 32
KEY_FILE_NAME = "ryze.key"

_EXPECTED = f"expected base64 of exactly {KEY_BYTES} bytes, as `openssl rand -base64 32` makes it"
_MOST_BYTES = 4096  # a key file has 45; reading stops here whatever the file is
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """The key, and what to tell the user about it.

    Attributes:
        key: 32 bytes.
        created: it was made just now, and the user should hear of the new file.
        path: the key file; None when the key came from the settings.
    """

    key: bytes = field(repr=False)
    created: bool
    path: Path | None


def load_key(configured: str, data_dir: Path) -> LoadedKey:
    """Find the encryption key, or make one at the first start.

    Args:
        configured: the value of ``RYZE_ENCRYPTION_KEY``, empty when it is not set.
        data_dir: where the key file is, or shall be.

    Raises:
        KeyFileError: the key is malformed, or its file is unreadable or not private.
    """
    if configured.strip():
        return LoadedKey(_decode(configured, "RYZE_ENCRYPTION_KEY"), created=False, path=None)
    path = data_dir / KEY_FILE_NAME
    try:
        created = not path.exists() and _create(path)
        return LoadedKey(_decode(_read(path), str(path)), created, path)
    except OSError as error:
        raise KeyFileError(f"cannot use the key file {path}: {error.strerror}") from error


def _decode(text: str, where: str) -> bytes:
    standard = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError:
        # Without its cause: that one may quote the text.
        raise KeyFileError(f"{where} is not base64: {_EXPECTED}") from None
    if len(key) != KEY_BYTES:
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
        return os.read(descriptor, _MOST_BYTES).decode("ascii", "replace")
    finally:
        os.close(descriptor)


def _create(path: Path) -> bool:
    """Make the key file; False when another process was faster.

    The key is complete on the disk before it gets its name, and the name is given only
    once: a crash leaves no half a key, and two first starts agree on one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        _write_private(draft, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
        os.link(draft, path)
        _sync_directory(path.parent)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    return True


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
