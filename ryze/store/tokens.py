"""Generating and hashing tokens.

A token is looked up by its hash, never by its text. It has 256 random bits, so a plain SHA-256
is enough: there is nothing to guess that a slow hash would protect.
"""

import hashlib
import secrets

__all__ = ["hash_token", "new_token"]


def new_token() -> str:
    """Generate a token: 256 random bits in URL-safe base64."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Compute the token hash: SHA-256 of the UTF-8 text, as hex.

    Accepts any text that a client can send: a lone surrogate has a hash too, which matches none.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
