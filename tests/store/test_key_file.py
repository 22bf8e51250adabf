"""Loading and creating encryption keys."""

import base64
import os
import threading
from pathlib import Path

import pytest

from ryze.errors import KeyFileError
from ryze.store import LoadedKey, TokenCipher, load_key

KEY = bytes(range(224, 256))  # in base64 with + and /, so that both alphabets differ
STANDARD = base64.b64encode(KEY).decode()
URLSAFE = base64.urlsafe_b64encode(KEY).decode()


def test_first_start_creates_a_private_file_and_later_starts_use_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    first, second = load_key("", data_dir), load_key("", data_dir)
    file = data_dir / "ryze.key"
    assert first == LoadedKey(first.keys, created=True, path=file)
    assert second == LoadedKey(first.keys, created=False, path=file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert (base64.b64decode(file.read_text()),) == first.keys
    assert len(first.keys[0]) == 32


def test_no_draft_is_left_behind(tmp_path: Path) -> None:
    load_key("", tmp_path)
    assert os.listdir(tmp_path) == ["ryze.key"]


def test_generated_keys_differ(tmp_path: Path) -> None:
    assert load_key("", tmp_path / "a").keys != load_key("", tmp_path / "b").keys


def test_concurrent_first_starts_agree_on_one_key(tmp_path: Path) -> None:
    loaded: list[LoadedKey] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        loaded.append(load_key("", tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.keys for key in loaded}) == 1
    assert [key.created for key in loaded].count(True) == 1
    assert os.listdir(tmp_path) == ["ryze.key"]


@pytest.mark.parametrize("configured", [STANDARD, URLSAFE, STANDARD.rstrip("="), f" {STANDARD}\n"])
def test_configured_key_is_used_without_a_file(configured: str, tmp_path: Path) -> None:
    assert load_key(configured, tmp_path) == LoadedKey((KEY,), created=False, path=None)
    assert not os.listdir(tmp_path)


OTHER_KEY = bytes(32)
OTHER = base64.b64encode(OTHER_KEY).decode()


@pytest.mark.parametrize(
    "content",
    [f"{STANDARD}\n{OTHER}\n", f"{URLSAFE}\r\n\r\n  {OTHER}", f"{STANDARD}\n{OTHER}\n{URLSAFE}\n"],
)
def test_file_with_several_keys_has_one_per_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "ryze.key"
    file.touch(0o600)
    file.write_bytes(content.encode())
    assert load_key("", tmp_path) == LoadedKey((KEY, OTHER_KEY), created=False, path=file)


@pytest.mark.parametrize("configured", [f"{STANDARD},{OTHER}", f" {URLSAFE} , {OTHER}\n"])
def test_several_configured_keys_are_separated_by_commas(configured: str, tmp_path: Path) -> None:
    assert load_key(configured, tmp_path).keys == (KEY, OTHER_KEY)


@pytest.mark.parametrize("wrong", ["c2hvcnQ=", "", "not*base64*secret"])
def test_malformed_key_is_reported_by_number_and_not_shown(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"^RYZE_ENCRYPTION_KEY, key 2 ") as caught:
        load_key(f"{STANDARD},{wrong}", tmp_path)
    assert "secret" not in str(caught.value)


def test_missing_file_is_not_created_without_create(tmp_path: Path) -> None:
    with pytest.raises(
        KeyFileError, match=r"^there is no key file .*ryze\.key: put back your copy"
    ):
        load_key("", tmp_path, create=False)
    assert not os.listdir(tmp_path)


def test_oversized_file_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "ryze.key"
    file.touch(0o600)
    file.write_text(f"{STANDARD}\n" * 1457)
    with pytest.raises(KeyFileError, match=r"ryze\.key is longer than 65536 bytes"):
        load_key("", tmp_path)


MALFORMED = [
    ("c2hvcnQtc2VjcmV0", "holds 12 bytes"),
    (STANDARD + STANDARD, "is not base64"),  # padding in the middle
    (base64.b64encode(KEY * 2).decode(), "holds 64 bytes"),
    ("not*base64*secret", "is not base64"),
    ("sécret", "is not base64"),
    ("A", "is not base64"),
]


@pytest.mark.parametrize(("wrong", "what"), MALFORMED)
def test_malformed_setting_is_reported_and_not_shown(wrong: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        load_key(wrong, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"RYZE_ENCRYPTION_KEY {what}: expected base64 of exactly 32 bytes")
    assert wrong not in message
    assert "\n" not in message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("wrong", "what"), [*MALFORMED, ("", "holds 0 bytes")])
def test_malformed_file_is_reported_and_not_shown(wrong: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "ryze.key"
    file.touch(0o600)
    file.write_text(wrong)
    with pytest.raises(KeyFileError) as caught:
        load_key("", tmp_path)
    assert str(caught.value).startswith(f"{file} {what}: expected base64 of exactly 32 bytes")
    assert not wrong or wrong not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o777])
def test_file_that_others_can_use_is_rejected(mode: int, tmp_path: Path) -> None:
    load_key("", tmp_path)
    file = tmp_path / "ryze.key"
    file.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"mode {mode:04o}.*expected 0600: run `chmod 600 "):
        load_key("", tmp_path)


def test_read_only_private_file_is_accepted(tmp_path: Path) -> None:
    made = load_key("", tmp_path)
    (tmp_path / "ryze.key").chmod(0o400)
    assert load_key("", tmp_path).keys == made.keys


def test_directory_instead_of_the_file_is_a_key_file_error(tmp_path: Path) -> None:
    (tmp_path / "ryze.key").mkdir(mode=0o700)
    with pytest.raises(KeyFileError, match=r"cannot use the key file .*ryze\.key: Is a directory"):
        load_key("", tmp_path)


def test_data_directory_that_cannot_be_created_is_a_key_file_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match=r"cannot use the key file .*: Not a directory"):
        load_key("", tmp_path / "file" / "data")


def test_repr_does_not_contain_the_key(tmp_path: Path) -> None:
    loaded = load_key(STANDARD, tmp_path)
    assert repr(loaded) == "LoadedKey(created=False, path=None)"
    assert TokenCipher(*loaded.keys)
