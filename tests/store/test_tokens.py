"""Generating and hashing tokens."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from ryze.store import hash_token, new_token


def test_new_tokens_are_unique_and_have_256_bits() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}


def test_token_hash_is_plain_sha_256_of_the_utf_8_text() -> None:
    assert hash_token("tök") == hashlib.sha256("tök".encode()).hexdigest()


@given(st.text(alphabet=st.characters()))
def test_every_text_has_a_token_hash(token: str) -> None:
    assert len(hash_token(token)) == 64


def test_lone_surrogate_has_a_token_hash() -> None:
    assert hash_token("\udc80") != hash_token("")
