"""One-line error messages for a terminal.

Text from a server is not trusted: it is shown on a terminal, see `sanitize_line`.
"""

import http.client
import os

import msgspec

from ryze.client.server_address import ServerAddress
from ryze.exception_groups import first_leaf

__all__ = ["NOT_JSON", "connect_error", "sanitize_line", "server_message", "status_phrase"]

# Errors of msgspec for bytes that are not the expected JSON.
NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_MAX_LINE_CHARACTERS = 300


class _Error(msgspec.Struct):
    message: str


class _ErrorEnvelope(msgspec.Struct):
    error: _Error


def server_message(status: int, body: bytes) -> str:
    """Read the message of our error envelope; of other servers, the phrase of the status."""
    try:
        message = msgspec.json.decode(body, type=_ErrorEnvelope).error.message
    except NOT_JSON:
        return status_phrase(status)
    return sanitize_line(message) or status_phrase(status)


def status_phrase(status: int) -> str:
    """Return the reason phrase of an HTTP status; empty if it has none."""
    return http.client.responses.get(status, "")


def connect_error(address: ServerAddress, error: BaseException) -> str:
    """Describe why a server could not be reached."""
    return f"cannot reach {address}: {sanitize_line(_reason(first_leaf(error)))}"


def _reason(error: BaseException) -> str:
    # Trio repeats the address in `strerror`.
    if isinstance(error, ConnectionError | TimeoutError) and error.errno:
        return os.strerror(error.errno)
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__


def sanitize_line(text: str) -> str:
    """Make text safe for a terminal: no line breaks, no escape sequences, limited length."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable[:_MAX_LINE_CHARACTERS].strip()
