import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.errors import KeyFileError
from ryze.store import TokenCipher, hash_token, new_token

KEYS = st.binary(min_size=32, max_size=32)
CIPHER = TokenCipher(b"k" * 32)
TOKEN = "a token"
HASH = hash_token(TOKEN)


def test_new_tokens_differ_and_hold_256_bits() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}


def test_the_hash_is_plain_sha_256_of_the_utf_8() -> None:
    assert hash_token("tök") == hashlib.sha256("tök".encode()).hexdigest()


@given(st.text(alphabet=st.characters()))
def test_every_text_has_a_hash(token: str) -> None:
    assert len(hash_token(token)) == 64


def test_a_lone_surrogate_has_a_hash() -> None:
    assert hash_token("\udc80") != hash_token("")


@given(KEYS, st.text())
def test_what_is_sealed_opens_again(key: bytes, token: str) -> None:
    token_hash = hash_token(token)
    sealed = TokenCipher(key).seal(token, token_hash)
    assert TokenCipher(key).open(sealed, token_hash) == token


def test_no_two_seals_are_the_same() -> None:
    assert CIPHER.seal(TOKEN, HASH) != CIPHER.seal(TOKEN, HASH)


def test_another_key_is_told_from_damage() -> None:
    sealed = TokenCipher(b"x" * 32).seal(TOKEN, HASH)
    with pytest.raises(KeyFileError, match=r"sealed with the key \w{8}, .* RYZE_ENCRYPTION_KEY"):
        CIPHER.open(sealed, HASH)


@given(st.lists(KEYS, min_size=1, max_size=4, unique=True), st.text())
def test_the_first_key_seals_and_all_of_them_open(keys: list[bytes], token: str) -> None:
    token_hash = hash_token(token)
    cipher = TokenCipher(*keys)
    assert cipher.is_current(cipher.seal(token, token_hash))
    assert TokenCipher(keys[0]).open(cipher.seal(token, token_hash), token_hash) == token
    for key in keys:
        sealed = TokenCipher(key).seal(token, token_hash)
        assert cipher.open(sealed, token_hash) == token
        assert cipher.is_current(sealed) == (key == keys[0])


def test_a_key_given_twice_is_one_key() -> None:
    assert TokenCipher(b"k" * 32, b"k" * 32).fingerprints == CIPHER.fingerprints


def test_two_keys_that_could_be_mistaken_for_each_other_are_refused() -> None:
    # Two out of some 100,000 have the same 32 bits: the birthday paradox.
    seen: dict[bytes, bytes] = {}
    keys = (number.to_bytes(32, "big") for number in itertools.count())
    pairs = ((seen.setdefault(hashlib.sha256(key).digest()[:4], key), key) for key in keys)
    other, key = next(pair for pair in pairs if pair[0] != pair[1])
    with pytest.raises(KeyFileError, match=r"two keys have the fingerprint \w{8}: make another"):
        TokenCipher(key, other)


@given(st.integers(min_value=4, max_value=4 + 12 + len(TOKEN) + 15), st.integers(0, 7))
def test_a_flipped_bit_is_damage(at: int, bit: int) -> None:
    sealed = bytearray(CIPHER.seal(TOKEN, HASH))
    sealed[at] ^= 1 << bit
    with pytest.raises(KeyFileError, match="damaged"):
        CIPHER.open(bytes(sealed), HASH)


def test_cut_short_anywhere_it_never_opens() -> None:
    sealed = CIPHER.seal(TOKEN, HASH)
    for length in range(len(sealed)):
        with pytest.raises(KeyFileError, match="damaged"):
            CIPHER.open(sealed[:length], HASH)


def test_the_seal_of_one_row_does_not_open_in_another() -> None:
    with pytest.raises(KeyFileError, match="damaged, or belongs to another row"):
        CIPHER.open(CIPHER.seal(TOKEN, HASH), hash_token("another"))


def test_the_repr_does_not_show_the_key() -> None:
    assert "kkk" not in repr(CIPHER)
    assert b"k".hex() * 3 not in repr(CIPHER)
