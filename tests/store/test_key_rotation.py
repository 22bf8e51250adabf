"""Key rotation: all tokens are re-sealed, and no interruption loses a token or a key."""

import base64
import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ryze.errors import KeyFileError, StoreError
from ryze.store import (
    InstanceSettings,
    Rotation,
    TokenCipher,
    hash_token,
    insert_account,
    insert_instance,
    load_key,
    open_database,
    rotate_key,
    select_instances,
)
from ryze.store import key_rotation as rotation
from ryze.store.key_file import lock_and_load_key
from tests.store.steps import BATCH, rotate

ROOT = Path(__file__).parent.parent.parent
COUNT = 2 * BATCH + 1
TOKENS = {f"instance{number}": f"token {number}" for number in range(COUNT)}
OTHER_KEY = b"o" * 32


def text(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


def key_files(directory: Path) -> list[Path]:
    """Return all key files, including a draft that was left."""
    return sorted(directory.glob("ryze.key*"))


def fingerprints(*keys: bytes) -> tuple[str, ...]:
    return TokenCipher(*keys).fingerprints


def keys_in(path: Path) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(line) for line in path.read_text().split())


async def fill(directory: Path, key: bytes) -> None:
    async with open_database(f"sqlite:///{directory}/ryze.db") as database:
        account = await database.write(insert_account, "main", hash_token("account"))
        for name, token in TOKENS.items():
            await database.write(
                insert_instance,
                TokenCipher(key),
                account.id,
                name,
                token,
                InstanceSettings(),
                None,
            )


async def tokens_in(directory: Path, *keys: bytes) -> dict[str, str]:
    async with open_database(f"sqlite:///{directory}/ryze.db") as database:
        instances = await database.read(select_instances, TokenCipher(*keys))
    return {instance.name: instance.token for instance in instances}


async def assert_rotated(directory: Path, *old: bytes) -> None:
    [key] = keys_in(directory / "ryze.key")
    assert key not in old
    assert keys_in(directory / "ryze.key.old") == old
    assert await tokens_in(directory, key) == TOKENS
    modes = {path.name: path.stat().st_mode & 0o777 for path in key_files(directory)}
    assert modes == {"ryze.key": 0o600, "ryze.key.old": 0o600}


async def assert_resumes(left: Path, key: bytes) -> Rotation:
    """Assert that an interruption has lost nothing, and that the next rotation completes.

    If the interrupted one had completed already, the next one is a second rotation: the original
    key is then the oldest of the retired keys, not the only one.
    """
    assert await tokens_in(left, *load_key("", left, create=False).keys) == TOKENS
    done = await rotate(left)
    old = keys_in(left / "ryze.key.old")
    assert old[-1] == key
    assert len(old) == (1 if done.resumed or done.old_fingerprints == fingerprints(key) else 2)
    await assert_rotated(left, *old)
    return done


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    """The data directory of a server with some instances and a key file."""
    directory = tmp_path / "data"
    await fill(directory, *load_key("", directory).keys)
    return directory


@pytest.fixture
def key(directory: Path) -> bytes:
    [key] = keys_in(directory / "ryze.key")
    return key


class TestKeyFile:
    async def test_all_tokens_are_resealed_with_a_new_key(
        self, directory: Path, key: bytes
    ) -> None:
        done = await rotate(directory)
        await assert_rotated(directory, key)
        [new] = keys_in(directory / "ryze.key")
        assert done == Rotation(
            resealed=COUNT,
            total=COUNT,
            fingerprint=fingerprints(new)[0],
            old_fingerprints=fingerprints(key),
            resumed=False,
            old_keys=directory / "ryze.key.old",
        )

    async def test_no_row_opens_with_the_old_key_afterwards(
        self, directory: Path, key: bytes
    ) -> None:
        await rotate(directory)
        with pytest.raises(KeyFileError, match=r"^instance instance0 \(id 1\): the token was seal"):
            await tokens_in(directory, key)

    async def test_retired_keys_are_kept_newest_first(self, directory: Path, key: bytes) -> None:
        await rotate(directory)
        [second] = keys_in(directory / "ryze.key")
        await rotate(directory)
        await assert_rotated(directory, second, key)

    async def test_without_instances_only_the_key_changes(self, tmp_path: Path) -> None:
        [key] = load_key("", tmp_path).keys
        done = await rotate(tmp_path)
        assert (done.resealed, done.total) == (0, 0)
        assert keys_in(tmp_path / "ryze.key.old") == (key,)

    async def test_progress_is_reported_from_zero_to_all(self, directory: Path) -> None:
        told: list[tuple[int, int]] = []
        async with open_database(f"sqlite:///{directory}/ryze.db") as database:
            await rotate_key(database, "", directory, on_progress=lambda *now: told.append(now))
        assert told == [(0, COUNT), (COUNT, COUNT)]

    async def test_database_that_shares_the_key_file_can_rotate_with_the_old_key(
        self, directory: Path, key: bytes, tmp_path: Path
    ) -> None:
        await fill(tmp_path, key)
        await rotate(directory)
        file, old = directory / "ryze.key", directory / "ryze.key.old"
        (tmp_path / "ryze.key").symlink_to(file)
        with pytest.raises(KeyFileError, match=rf"{fingerprints(key)[0]}.*ryze.key.ol"):
            await rotate(tmp_path)
        file.write_text(file.read_text() + old.read_text())
        assert (await rotate(tmp_path)).resealed == COUNT
        assert (tmp_path / "ryze.key").is_symlink()
        await assert_rotated(directory, key)
        assert await tokens_in(tmp_path, *keys_in(file)) == TOKENS

    async def test_concurrent_rotation_of_a_key_file_is_rejected(
        self, directory: Path, key: bytes, tmp_path: Path
    ) -> None:
        (tmp_path / "ryze.key").symlink_to(directory / "ryze.key")
        with (
            lock_and_load_key("", tmp_path) as loaded,
            pytest.raises(KeyFileError, match=r"^another `ryze key rotate` uses .*/ryze\.key$"),
        ):
            await rotate(directory)
        assert loaded.keys == keys_in(directory / "ryze.key") == (key,)
        await rotate(directory)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    async def test_rotation_as_root_keeps_the_owner_of_the_files(self, directory: Path) -> None:
        os.chown(directory / "ryze.key", 65534, -1)
        await rotate(directory)
        assert {path.stat().st_uid for path in key_files(directory)} == {65534}


class TestConfiguredKeys:
    async def test_all_tokens_are_resealed_with_the_first_key(
        self, directory: Path, key: bytes
    ) -> None:
        (directory / "ryze.key").unlink()
        new, old = fingerprints(OTHER_KEY, key)
        done = await rotate(directory, configured=text(OTHER_KEY, key))
        assert done == Rotation(COUNT, COUNT, new, (old,), resumed=True, old_keys=None)
        assert await tokens_in(directory, OTHER_KEY) == TOKENS
        assert key_files(directory) == []

    async def test_second_rotation_has_nothing_to_do(self, directory: Path, key: bytes) -> None:
        for resealed in (COUNT, 0):
            done = await rotate(directory, configured=text(OTHER_KEY, key))
            assert (done.resealed, done.total) == (resealed, COUNT)

    @pytest.mark.parametrize("times", [1, 2])
    async def test_single_configured_key_is_rejected(
        self, directory: Path, key: bytes, times: int
    ) -> None:
        with pytest.raises(KeyFileError, match=r"holds one key: put a new one before it.*new,old"):
            await rotate(directory, configured=text(*[key] * times))

    async def test_rotation_from_a_key_file_to_the_setting(
        self, directory: Path, key: bytes
    ) -> None:
        configured = f"{text(OTHER_KEY)},{(directory / 'ryze.key').read_text()}"
        await rotate(directory, configured=configured)
        assert await tokens_in(directory, OTHER_KEY) == TOKENS


async def assert_refused(directory: Path, key: bytes, message: str) -> None:
    """Assert that a rotation fails with this message and changes nothing."""
    before = {path.name: path.read_text() for path in key_files(directory)}
    with pytest.raises(KeyFileError, match=message):
        await rotate(directory)
    assert {path.name: path.read_text() for path in key_files(directory)} == before
    assert await tokens_in(directory, key) == TOKENS


class TestRefused:
    """A rotation that cannot start changes nothing."""

    async def test_missing_key_file(self, directory: Path, key: bytes) -> None:
        (directory / "ryze.key").unlink()
        await assert_refused(directory, key, r"^there is no key file .*: put back your copy of it")

    async def test_wrong_key(self, directory: Path, key: bytes) -> None:
        (directory / "ryze.key").write_text(text(OTHER_KEY))
        await assert_refused(directory, key, r"^instance instance0 \(id 1\): .*put that key back")

    async def test_key_file_that_others_can_read(self, directory: Path, key: bytes) -> None:
        (directory / "ryze.key").chmod(0o644)
        await assert_refused(directory, key, r"mode 0644.*chmod 600")

    async def test_key_file_with_a_malformed_key(self, directory: Path, key: bytes) -> None:
        with (directory / "ryze.key").open("a") as file:
            file.write("c2hvcnQ=\n")
        await assert_refused(directory, key, r"ryze\.key, line 2 holds 5 bytes: expected base64")

    async def test_new_key_with_the_fingerprint_of_the_old_key(
        self, directory: Path, key: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With such a key in the file, no server could start."""
        monkeypatch.setattr(rotation, "TokenCipher", OneFingerprint)
        await assert_refused(directory, key, "make another key")


class OneFingerprint(TokenCipher):
    """A cipher for which all keys have the same fingerprint."""

    def __init__(self, *keys: bytes) -> None:
        if len(keys) > 1:
            raise KeyFileError("two keys have the same fingerprint: make another key")
        super().__init__(*keys)


async def test_damaged_token_stops_the_rotation_and_no_key_is_retired(
    directory: Path, key: bytes
) -> None:
    with contextlib.closing(sqlite3.connect(directory / "ryze.db")) as database, database:
        database.execute("UPDATE instances SET token_sealed = x'00' WHERE id = 3")
    with pytest.raises(KeyFileError, match=r"^instance instance2 \(id 3\): .*damaged"):
        await rotate(directory)
    assert keys_in(directory / "ryze.key") == (key,)


async def test_token_that_was_not_resealed_keeps_the_old_key(
    directory: Path, key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 4 checks all tokens, so that even a bug in step 3 loses no key."""
    with monkeypatch.context() as patched:
        patched.setattr(rotation, "update_instance_seals", lambda *_: None)
        with pytest.raises(KeyFileError, match=r"^instance instance0 \(id 1\): "):
            await rotate(directory)
    assert (await assert_resumes(directory, key)).resumed


async def test_malformed_old_key_file_stops_the_rotation_before_a_key_is_retired(
    directory: Path, key: bytes
) -> None:
    old = directory / "ryze.key.old"
    old.touch(0o600)
    old.write_text("my notes")
    with pytest.raises(KeyFileError, match=r"ryze\.key\.old.* is not base64"):
        await rotate(directory)
    assert len(keys_in(directory / "ryze.key")) == 2
    old.unlink()
    assert (await assert_resumes(directory, key)).resumed


# --- Interrupted at each step ---

# Replacing a file: the content is synced before the rename, and the directory after it.
REPLACE = ["os.write", "os.fsync", "os.replace", "os.fsync"]
FULL = "PRAGMA synchronous = FULL"


async def test_each_step_is_synced_to_disk_before_the_next(directory: Path) -> None:
    """The order needed for power failures, which killing the process cannot test."""
    steps: list[str] = []
    await rotate(directory, steps.append)
    row = "UPDATE instances SET token_sealed = ? WHERE id = ?"
    assert [step for step in steps if step in {*REPLACE, FULL, row, "COMMIT"}] == [
        *REPLACE,  # the new key
        *(FULL, row, row, "COMMIT"),
        *(FULL, row, row, "COMMIT"),
        *(FULL, row, "COMMIT"),
        *(FULL, "COMMIT"),  # none left
        *REPLACE,  # the old key added to ryze.key.old
        *REPLACE,  # and removed from ryze.key
    ]
    assert steps.index("BEGIN IMMEDIATE") > steps.index(FULL)


def killed_at_every_step(directory: Path, target: Path) -> list[Path]:
    """Return the directories that rotations killed before step 1, 2, ... have left."""
    command = [sys.executable, "-m", "tests.store.steps", str(directory), str(target)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=100)
    return sorted(target.iterdir(), key=lambda path: int(path.name))


def state_of(directory: Path, key: bytes) -> tuple[int, int]:
    """Count the keys in the file, and the rows sealed with this key."""
    mark = bytes.fromhex(fingerprints(key)[0])
    with contextlib.closing(sqlite3.connect(directory / "ryze.db")) as database:
        statement = "SELECT count(*) FROM instances WHERE substr(token_sealed, 1, 4) = ?"
        [[rows]] = database.execute(statement, (mark,))
    return len(keys_in(directory / "ryze.key")), rows


async def test_rotation_killed_at_any_step_loses_nothing_and_resumes(
    directory: Path, key: bytes, tmp_path: Path
) -> None:
    seen = []
    for left in killed_at_every_step(directory, tmp_path / "killed"):
        seen.append(state_of(left, key))
        done = await assert_resumes(left, key)
        assert done.resumed == (seen[-1][0] == 2)
    # The kills cover the states before and after each transaction.
    assert list(dict.fromkeys(seen)) == [(1, 5), (2, 5), (2, 3), (2, 1), (2, 0), (1, 0)]


@pytest.mark.parametrize("state", [(2, 3), (2, 0)])
async def test_resumed_rotation_killed_at_any_step_resumes_again(
    directory: Path, key: bytes, tmp_path: Path, state: tuple[int, int]
) -> None:
    killed = killed_at_every_step(directory, tmp_path / "first")
    *_, first = [left for left in killed if state_of(left, key) == state]
    for left in killed_at_every_step(first, tmp_path / "again"):
        await assert_resumes(left, key)


async def test_failed_step_is_reported_in_one_line_and_the_rotation_resumes(
    directory: Path, key: bytes, tmp_path: Path
) -> None:
    steps: list[str] = []
    shutil.copytree(directory, tmp_path / "whole")
    await rotate(tmp_path / "whole", steps.append)
    for at, name in enumerate(steps):
        if name == "os.close":  # a failing close would leak a descriptor in this test
            continue
        left = tmp_path / str(at)
        shutil.copytree(directory, left)
        to_come = iter(range(len(steps)))

        def fail(step: str, at: int = at, to_come: Iterator[int] = to_come) -> None:
            if next(to_come) == at:
                if step.startswith("os."):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                raise sqlite3.OperationalError("disk is full")

        with pytest.raises((KeyFileError, StoreError)) as caught:
            await rotate(left, fail)
        assert str(caught.value).startswith("cannot ")
        assert "\n" not in str(caught.value)
        await assert_resumes(left, key)
