"""Sealing instance tokens: encryption at rest.

A TokenInstance must be readable again, because every frame contains it; so it is stored
encrypted. A sealed token is

    fingerprint of the key (4 bytes) | nonce (12) | AES-256-GCM ciphertext and tag

with the token hash as associated data: a sealed token copied to another row of the database
does not open there. The fingerprint selects one of several keys, and tells "wrong key" from
"damaged"; four bytes of a hash of 32 random bytes disclose nothing of the key. People see the
fingerprint as eight hex digits:

    base64 -d ryze.key | sha256sum | cut -c1-8
"""

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ryze.errors import KeyFileError

__all__ = ["TokenCipher"]

_FINGERPRINT_BYTES = 4
_NONCE_BYTES = 12  # NIST SP 800-38D, section 5.2.1.1: the recommended length for GCM
_TAG_BYTES = 16


class TokenCipher:
    """Seals tokens with one key and opens tokens sealed with any of its keys.

    Args:
        key: the sealing key, 32 bytes from `load_key`.
        older: keys that only open.

    Raises:
        KeyFileError: two keys have the same fingerprint.
    """

    def __init__(self, key: bytes, *older: bytes) -> None:
        # Ciphers by fingerprint, never changed; the first one seals.
        self._ciphers: dict[bytes, AESGCM] = {}
        for each in dict.fromkeys((key, *older)):
            fingerprint = _fingerprint(each)
            # One pair of keys in 2**32. If it passed, a rotation would take tokens sealed with
            # the old key for current ones, and retire a key that is still needed.
            if fingerprint in self._ciphers:
                raise KeyFileError(
                    f"two keys have the fingerprint {fingerprint.hex()}: make another key"
                )
            self._ciphers[fingerprint] = AESGCM(each)
        self._current = _fingerprint(key)

    def __repr__(self) -> str:
        return f"<TokenCipher {', '.join(self.fingerprints)}>"

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the keys as hex; the sealing key comes first."""
        return tuple(each.hex() for each in self._ciphers)

    def is_current(self, sealed: bytes) -> bool:
        """Was the token sealed with the current sealing key? Damage is not checked."""
        return sealed[:_FINGERPRINT_BYTES] == self._current

    def seal(self, token: str, token_hash: str) -> bytes:
        """Encrypt a token for the row with this token hash."""
        # Random nonces are safe up to 2**32 seals per key (SP 800-38D, section 8.3).
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self._current]
        ciphertext = cipher.encrypt(nonce, token.encode(), _associated_data(token_hash))
        return self._current + nonce + ciphertext

    def open(self, sealed: bytes, token_hash: str) -> str:
        """Decrypt the sealed token of the row with this token hash.

        Raises:
            KeyFileError: it was sealed with none of the keys, or it is damaged.
        """
        cipher = self._select_cipher(sealed)
        nonce_end = _FINGERPRINT_BYTES + _NONCE_BYTES
        nonce, ciphertext = sealed[_FINGERPRINT_BYTES:nonce_end], sealed[nonce_end:]
        try:
            return cipher.decrypt(nonce, ciphertext, _associated_data(token_hash)).decode()
        except InvalidTag as error:
            raise KeyFileError(_DAMAGED) from error

    def _select_cipher(self, sealed: bytes) -> AESGCM:
        if len(sealed) < _FINGERPRINT_BYTES + _NONCE_BYTES + _TAG_BYTES:
            raise KeyFileError(_DAMAGED)
        fingerprint = sealed[:_FINGERPRINT_BYTES]
        if fingerprint not in self._ciphers:
            raise KeyFileError(
                f"the token was sealed with the key {fingerprint.hex()}, in use is "
                f"{', '.join(self.fingerprints)}: put that key back, as a further line of ryze.key "
                "or after a comma in RYZE_ENCRYPTION_KEY (ryze.key.old has the keys that "
                "`ryze key rotate` retired)"
            )
        return self._ciphers[fingerprint]


_DAMAGED = (
    "the sealed token is damaged, or belongs to another row: restore the database from a backup"
)


def _fingerprint(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_FINGERPRINT_BYTES]


def _associated_data(token_hash: str) -> bytes:
    return token_hash.encode()
