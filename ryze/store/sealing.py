"""Tokens: made at random, found by their hash, kept only under seal.

A TokenInstance must be readable again, because it stands in every frame; so it is
stored encrypted. A sealed token is

    fingerprint of the key (4 bytes) | nonce (12) | AES-256-GCM ciphertext and tag

with the token's hash as associated data: a sealed token moved to another row of the
database does not open there. The fingerprint says which of several keys opens it, and
tells "the wrong key" from "damaged"; four bytes of a hash of 32 random bytes give nothing
of the key away. People see it as eight hex digits:

    base64 -d ryze.key | sha256sum | cut -c1-8
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
    """Seals tokens with one key, and opens what was sealed with any of its keys.

    Args:
        key: 32 bytes, from ``load_key``: the one that seals.
        older: the keys that only open.

    Raises:
        KeyFileError: two keys have the same fingerprint.
    """

    def __init__(self, key: bytes, *older: bytes) -> None:
        # By fingerprint, never changed; the first one seals.
        self._keys: dict[bytes, AESGCM] = {}
        for each in dict.fromkeys((key, *older)):
            made = _fingerprint(each)
            # One pair of keys in four thousand million. Let through, a rotation would take
            # the old one's seals for the new one's and give up a key that is needed.
            if made in self._keys:
                raise KeyFileError(f"two keys have the fingerprint {made.hex()}: make another key")
            self._keys[made] = AESGCM(each)
        self._sealing = _fingerprint(key)

    def __repr__(self) -> str:
        return f"<TokenCipher {', '.join(self.fingerprints)}>"

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The keys' fingerprints as people see them; the one that seals comes first."""
        return tuple(each.hex() for each in self._keys)

    def is_current(self, sealed: bytes) -> bool:
        """Whether this was sealed with the key that seals now. Says nothing of damage."""
        return sealed[:_FINGERPRINT_BYTES] == self._sealing

    def seal(self, token: str, token_hash: str) -> bytes:
        """Encrypt a token for the row with this hash."""
        # Random nonces are safe up to 2**32 seals with one key: one for each instance made.
        nonce = os.urandom(_NONCE_BYTES)
        aes = self._keys[self._sealing]
        return self._sealing + nonce + aes.encrypt(nonce, token.encode(), _bound(token_hash))

    def open(self, sealed: bytes, token_hash: str) -> str:
        """Decrypt the sealed token of the row with this hash.

        Raises:
            KeyFileError: it was sealed with none of the keys, or it is damaged.
        """
        aes = self._key_of(sealed)
        nonce_end = _FINGERPRINT_BYTES + _NONCE_BYTES
        nonce, ciphertext = sealed[_FINGERPRINT_BYTES:nonce_end], sealed[nonce_end:]
        try:
            return aes.decrypt(nonce, ciphertext, _bound(token_hash)).decode()
        except InvalidTag as error:
            raise KeyFileError(_DAMAGED) from error

    def _key_of(self, sealed: bytes) -> AESGCM:
        if len(sealed) < _FINGERPRINT_BYTES + _NONCE_BYTES + _TAG_BYTES:
            raise KeyFileError(_DAMAGED)
        made_with = sealed[:_FINGERPRINT_BYTES]
        if made_with not in self._keys:
            raise KeyFileError(
                f"the token was sealed with the key {made_with.hex()}, in use is "
                f"{', '.join(self.fingerprints)}: put that key back, as one more line of ryze.key "
                "or behind a comma in RYZE_ENCRYPTION_KEY (ryze.key.old has those that "
                "`ryze key rotate` took out)"
            )
        return self._keys[made_with]


_DAMAGED = (
    "the sealed token is damaged, or belongs to another row: restore the database from a backup"
)


def _fingerprint(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_FINGERPRINT_BYTES]


def _bound(token_hash: str) -> bytes:
    return token_hash.encode()
