"""Tokens: made at random, found by their hash, kept only under seal.

A TokenInstance must be readable again, because it stands in every frame; so it is
stored encrypted. A sealed token is

    fingerprint of the key (4 bytes) | nonce (12) | AES-256-GCM ciphertext and tag

with the token's hash as associated data: a sealed token moved to another row of the
database does not open there. The fingerprint is what tells "the wrong key" from
"damaged"; four bytes of a hash of 32 random bytes give nothing of the key away.
"""

import hashlib
import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ryze.errors import KeyFileError

__all__ = ["TokenCipher", "hash_token", "new_token"]

_FINGERPRINT_BYTES = 4
_NONCE_BYTES = 12  # what NIST SP 800-38D recommends for GCM
_TAG_BYTES = 16


def new_token() -> str:
    """Make a token: 256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Compute what a token is found by: SHA-256 of its UTF-8, in hex.

    Takes whatever a client may send: a lone surrogate has a hash too, and no owner.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class TokenCipher:
    """Seals tokens with one key, and opens what was sealed with the same key.

    Args:
        key: 32 bytes, from ``load_key``.
    """

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(key)
        # Stands before each sealed token, and in the message about a wrong key.
        self._fingerprint = hashlib.sha256(key).digest()[:_FINGERPRINT_BYTES]

    def __repr__(self) -> str:
        return f"<TokenCipher {self._fingerprint.hex()}>"

    def seal(self, token: str, token_hash: str) -> bytes:
        """Encrypt a token for the row with this hash."""
        # Random nonces are safe up to 2**32 seals with one key: one for each instance made.
        nonce = os.urandom(_NONCE_BYTES)
        return (
            self._fingerprint + nonce + self._aes.encrypt(nonce, token.encode(), _bound(token_hash))
        )

    def open(self, sealed: bytes, token_hash: str) -> str:
        """Decrypt the sealed token of the row with this hash.

        Raises:
            KeyFileError: it was sealed with another key, or it is damaged.
        """
        self._check_key(sealed)
        nonce_end = _FINGERPRINT_BYTES + _NONCE_BYTES
        nonce, ciphertext = sealed[_FINGERPRINT_BYTES:nonce_end], sealed[nonce_end:]
        try:
            return self._aes.decrypt(nonce, ciphertext, _bound(token_hash)).decode()
        except InvalidTag as error:
            raise KeyFileError(_DAMAGED) from error

    def _check_key(self, sealed: bytes) -> None:
        if len(sealed) < _FINGERPRINT_BYTES + _NONCE_BYTES + _TAG_BYTES:
            raise KeyFileError(_DAMAGED)
        made_with = sealed[:_FINGERPRINT_BYTES]
        if made_with != self._fingerprint:
            raise KeyFileError(
                f"the token was sealed with the key {made_with.hex()}, the key in use is "
                f"{self._fingerprint.hex()}: give RYZE_ENCRYPTION_KEY or ryze.key the key "
                "that this database was made with"
            )


_DAMAGED = (
    "the sealed token is damaged, or belongs to another row: restore the database from a backup"
)


def _bound(token_hash: str) -> bytes:
    return token_hash.encode()
