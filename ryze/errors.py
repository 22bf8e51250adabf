"""Everything that can go wrong, as one tree.

    RyzeError
    +-- SettingsError        you used it wrongly: a setting is not what it must be
    +-- InvalidEvent         the producer broke the rule: this is not an event
    +-- ApiError             an HTTP request ends here, with this status and message
    +-- StartError           the world failed: the server cannot start
    |   +-- KeyFileError     the encryption key is missing, malformed or not the right one
    +-- StoreError           the world failed: the database cannot be read or written
        +-- AlreadyExists    a row with this unique value is there already

Errors carry data; the message is rendered from it.
"""

from collections.abc import Mapping

import msgspec

__all__ = [
    "DATABASE_FAILED",
    "DRAINING",
    "INSTANCE_NOT_FOUND",
    "INVALID_TOKEN",
    "RATE_LIMITED",
    "TIMED_OUT",
    "TOO_MANY_CONNECTIONS",
    "AlreadyExists",
    "ApiError",
    "InvalidEvent",
    "KeyFileError",
    "RyzeError",
    "SettingsError",
    "StartError",
    "StoreError",
    "error_body",
]

# Messages of errors that are found in several places, and stand in the API's documents.
DATABASE_FAILED = "Failed to get instance"
DRAINING = "Server is shutting down"
INSTANCE_NOT_FOUND = "Instance not found"
INVALID_TOKEN = "Invalid token"
RATE_LIMITED = "Rate limit exceeded. Try again later."
TIMED_OUT = "Request timeout"
TOO_MANY_CONNECTIONS = "Too many connections"


class RyzeError(Exception):
    """Base of all our errors: catching it catches nothing of anybody else's."""


class SettingsError(RyzeError):
    """A setting has a value that it cannot have.

    Args:
        key: the environment variable, e.g. ``RYZE_PORT``.
        value: what it holds; secrets are passed as ``***``.
        expected: what it should look like, as the end of "expected ...".
    """

    def __init__(self, key: str, value: str, expected: str) -> None:
        super().__init__(f"{key}={value!r}: expected {expected}")
        self.key = key
        self.value = value
        self.expected = expected


class InvalidEvent(RyzeError):
    """What a producer sent is not an event; the message says why."""


class ApiError(RyzeError):
    """Ends an HTTP request with an error answer (contract, section 1).

    Args:
        status: the HTTP status.
        message: the exact ``error.message`` of the contract.
        headers: more headers for the answer, e.g. ``Retry-After``.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    @property
    def reason(self) -> str:
        """The first sentence of the message, for counting: it names nobody, so there are few."""
        return self.message.partition(". ")[0]


class StartError(RyzeError):
    """The server cannot start; the message says why and what to do, in one line."""


class KeyFileError(StartError):
    """The encryption key is missing, malformed, or not the one the data was sealed with."""


class StoreError(RyzeError):
    """The database cannot be read or written."""


class AlreadyExists(StoreError):
    """A unique value is taken.

    Args:
        what: ``"name"`` or ``"token"``.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is taken")
        self.what = what


def error_body(message: str) -> bytes:
    """The one JSON error shape of every route (contract, section 1)."""
    return msgspec.json.encode({"success": False, "error": {"message": message}})
