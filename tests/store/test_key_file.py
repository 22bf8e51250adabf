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


def test_the_first_start_makes_a_private_file_and_later_ones_use_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    first, second = load_key("", data_dir), load_key("", data_dir)
    file = data_dir / "ryze.key"
    assert first == LoadedKey(first.keys, created=True, path=file)
    assert second == LoadedKey(first.keys, created=False, path=file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert (base64.b64decode(file.read_text()),) == first.keys
    assert len(first.keys[0]) == 32


def test_nothing_but_the_key_file_is_left_behind(tmp_path: Path) -> None:
    load_key("", tmp_path)
    assert os.listdir(tmp_path) == ["ryze.key"]


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    assert load_key("", tmp_path / "a").keys != load_key("", tmp_path / "b").keys


def test_first_starts_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
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
def test_a_configured_key_is_used_and_no_file_is_made(configured: str, tmp_path: Path) -> None:
    assert load_key(configured, tmp_path) == LoadedKey((KEY,), created=False, path=None)
    assert not os.listdir(tmp_path)


OTHER_KEY = bytes(32)
OTHER = base64.b64encode(OTHER_KEY).decode()


@pytest.mark.parametrize(
    "content",
    [f"{STANDARD}\n{OTHER}\n", f"{URLSAFE}\r\n\r\n  {OTHER}", f"{STANDARD}\n{OTHER}\n{URLSAFE}\n"],
)
def test_a_file_may_hold_several_keys_a_line_each(content: str, tmp_path: Path) -> None:
    file = tmp_path / "ryze.key"
    file.touch(0o600)
    file.write_bytes(content.encode())
    assert load_key("", tmp_path) == LoadedKey((KEY, OTHER_KEY), created=False, path=file)


@pytest.mark.parametrize("configured", [f"{STANDARD},{OTHER}", f" {URLSAFE} , {OTHER}\n"])
def test_several_keys_are_configured_with_commas(configured: str, tmp_path: Path) -> None:
    assert load_key(configured, tmp_path).keys == (KEY, OTHER_KEY)


@pytest.mark.parametrize("wrong", ["c2hvcnQ=", "", "not*base64*secret"])
def test_of_several_keys_the_wrong_one_is_named_but_not_shown(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"^RYZE_ENCRYPTION_KEY, key 2 ") as caught:
        load_key(f"{STANDARD},{wrong}", tmp_path)
    assert "secret" not in str(caught.value)


def test_a_file_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(
        KeyFileError, match=r"^there is no key file .*ryze\.key: put back your copy"
    ):
        load_key("", tmp_path, create=False)
    assert not os.listdir(tmp_path)


def test_a_file_is_not_read_without_end(tmp_path: Path) -> None:
    file = tmp_path / "ryze.key"
    file.touch(0o600)
    file.write_text(f"{STANDARD}\n" * 1457)
    with pytest.raises(KeyFileError, match=r"ryze\.key is longer than 65536 bytes"):
        load_key("", tmp_path)


WRONG = [
    ("c2hvcnQtc2VjcmV0", "holds 12 bytes"),
    (STANDARD + STANDARD, "is not base64"),  # padding in the middle
    (base64.b64encode(KEY * 2).decode(), "holds 64 bytes"),
    ("not*base64*secret", "is not base64"),
    ("sécret", "is not base64"),
    ("A", "is not base64"),
]


@pytest.mark.parametrize(("wrong", "what"), WRONG)
def test_a_wrong_setting_is_named_but_not_shown(wrong: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        load_key(wrong, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"RYZE_ENCRYPTION_KEY {what}: expected base64 of exactly 32 bytes")
    assert wrong not in message
    assert "\n" not in message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("wrong", "what"), [*WRONG, ("", "holds 0 bytes")])
def test_a_wrong_file_is_named_but_not_shown(wrong: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "ryze.key"
    file.touch(0o600)
    file.write_text(wrong)
    with pytest.raises(KeyFileError) as caught:
        load_key("", tmp_path)
    assert str(caught.value).startswith(f"{file} {what}: expected base64 of exactly 32 bytes")
    assert not wrong or wrong not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o777])
def test_a_file_that_others_can_use_is_refused(mode: int, tmp_path: Path) -> None:
    load_key("", tmp_path)
    file = tmp_path / "ryze.key"
    file.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"mode {mode:04o}.*expected 0600: run `chmod 600 "):
        load_key("", tmp_path)


def test_a_read_only_private_file_is_fine(tmp_path: Path) -> None:
    made = load_key("", tmp_path)
    (tmp_path / "ryze.key").chmod(0o400)
    assert load_key("", tmp_path).keys == made.keys


def test_what_is_not_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "ryze.key").mkdir(mode=0o700)
    with pytest.raises(KeyFileError, match=r"cannot use the key file .*ryze\.key: Is a directory"):
        load_key("", tmp_path)


def test_a_data_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match=r"cannot use the key file .*: Not a directory"):
        load_key("", tmp_path / "file" / "data")


def test_the_repr_does_not_show_the_key(tmp_path: Path) -> None:
    loaded = load_key(STANDARD, tmp_path)
    assert repr(loaded) == "LoadedKey(created=False, path=None)"
    assert TokenCipher(*loaded.keys)
