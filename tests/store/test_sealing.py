"""Sealing tokens with AES-256-GCM under one of several keys."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.errors import KeyFileError
from ryze.store import TokenCipher, hash_token

KEYS = st.binary(min_size=32, max_size=32)
CIPHER = TokenCipher(b"k" * 32)
TOKEN = "a token"
HASH = hash_token(TOKEN)


@given(KEYS, st.text())
def test_sealed_token_opens_again(key: bytes, token: str) -> None:
    token_hash = hash_token(token)
    sealed = TokenCipher(key).seal(token, token_hash)
    assert TokenCipher(key).open(sealed, token_hash) == token


def test_sealing_twice_gives_different_bytes() -> None:
    assert CIPHER.seal(TOKEN, HASH) != CIPHER.seal(TOKEN, HASH)


def test_unknown_key_is_reported_by_its_fingerprint() -> None:
    sealed = TokenCipher(b"x" * 32).seal(TOKEN, HASH)
    with pytest.raises(KeyFileError, match=r"sealed with the key \w{8}, .* RYZE_ENCRYPTION_KEY"):
        CIPHER.open(sealed, HASH)


@given(st.lists(KEYS, min_size=1, max_size=4, unique=True), st.text())
def test_first_key_seals_and_every_key_opens(keys: list[bytes], token: str) -> None:
    token_hash = hash_token(token)
    cipher = TokenCipher(*keys)
    assert cipher.is_current(cipher.seal(token, token_hash))
    assert TokenCipher(keys[0]).open(cipher.seal(token, token_hash), token_hash) == token
    for key in keys:
        sealed = TokenCipher(key).seal(token, token_hash)
        assert cipher.open(sealed, token_hash) == token
        assert cipher.is_current(sealed) == (key == keys[0])


def test_duplicate_key_counts_once() -> None:
    assert TokenCipher(b"k" * 32, b"k" * 32).fingerprints == CIPHER.fingerprints


def test_keys_with_equal_fingerprints_are_rejected() -> None:
    # Two out of some 100,000 have the same 32 bits: the birthday paradox.
    seen: dict[bytes, bytes] = {}
    keys = (number.to_bytes(32, "big") for number in itertools.count())
    pairs = ((seen.setdefault(hashlib.sha256(key).digest()[:4], key), key) for key in keys)
    other, key = next(pair for pair in pairs if pair[0] != pair[1])
    with pytest.raises(KeyFileError, match=r"two keys have the fingerprint \w{8}: make another"):
        TokenCipher(key, other)


@given(st.integers(min_value=4, max_value=4 + 12 + len(TOKEN) + 15), st.integers(0, 7))
def test_flipped_bit_is_reported_as_damage(at: int, bit: int) -> None:
    sealed = bytearray(CIPHER.seal(TOKEN, HASH))
    sealed[at] ^= 1 << bit
    with pytest.raises(KeyFileError, match="damaged"):
        CIPHER.open(bytes(sealed), HASH)


def test_truncated_token_is_reported_as_damage() -> None:
    sealed = CIPHER.seal(TOKEN, HASH)
    for length in range(len(sealed)):
        with pytest.raises(KeyFileError, match="damaged"):
            CIPHER.open(sealed[:length], HASH)


def test_sealed_token_does_not_open_in_another_row() -> None:
    with pytest.raises(KeyFileError, match="damaged, or belongs to another row"):
        CIPHER.open(CIPHER.seal(TOKEN, HASH), hash_token("another"))


def test_repr_does_not_contain_the_key() -> None:
    assert "kkk" not in repr(CIPHER)
    assert b"k".hex() * 3 not in repr(CIPHER)
