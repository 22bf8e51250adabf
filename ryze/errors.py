"""Our exceptions as one tree, and the catalogue of HTTP error responses.

    RyzeError
    +-- SettingsError        wrong use: a setting has an invalid value
    +-- InvalidEvent         the producer's fault: the input is not an event
    +-- ApiError             ends an HTTP request with an error response
    +-- StartError           the environment failed: the server cannot start
    |   +-- KeyFileError     the encryption key is missing, malformed or the wrong one
    +-- StoreError           the environment failed: the database cannot be read or written
        +-- AlreadyExists    a row with this unique value exists

Errors of a single module are leaves of this tree and stand beside the code that raises them.

Exceptions carry data; the message is rendered from it. An `ApiError` is raised with an
`ErrorKind` of the catalogue, so each error message of the API is typed once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

import msgspec

__all__ = [
    "BODY_TOO_LARGE",
    "CONFIG_READ_FAILED",
    "DATABASE_FAILED",
    "DRAINING",
    "HEADERS_TOO_LARGE",
    "INSTANCE_EXISTS",
    "INSTANCE_NOT_FOUND",
    "INTERNAL_SERVER_ERROR",
    "INVALID_BODY",
    "INVALID_HANDSHAKE",
    "INVALID_TOKEN",
    "METHOD_NOT_ALLOWED",
    "NOT_CONFIGURED",
    "NOT_ENABLED",
    "NOT_FOUND",
    "NO_SETTING_GIVEN",
    "ORIGIN_NOT_ALLOWED",
    "QUOTA_EXCEEDED",
    "RATE_LIMITED",
    "REQUEST_TIMEOUT",
    "TOKEN_IN_USE",
    "TOO_MANY_CONNECTIONS",
    "UPGRADE_REQUIRED",
    "AlreadyExists",
    "ApiError",
    "ErrorKind",
    "InvalidEvent",
    "KeyFileError",
    "RyzeError",
    "SettingsError",
    "StartError",
    "StoreError",
    "error_body",
]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One kind of HTTP error response.

    Args:
        status: the HTTP status.
        message: the exact ``error.message`` of the contract.
        reason: snake_case label for metrics and logs; no names in it, so there are few.
    """

    status: int
    message: str
    reason: str

    @classmethod
    def of_status(cls, status: int) -> "ErrorKind":
        """Return the kind of an error that only has a status, such as those of Werkzeug and h11."""
        known = _BY_STATUS.get(status)
        if known is not None:
            return known
        http_status = HTTPStatus(status)
        return cls(status, http_status.phrase.capitalize(), http_status.name.lower())

    def with_message(self, message: str) -> "ErrorKind":
        """Return the same kind with another message."""
        return replace(self, message=message)

    def with_detail(self, detail: str) -> "ErrorKind":
        """Return the same kind; its message ends with ``: <detail>``."""
        return self.with_message(f"{self.message}: {detail}")

    def for_instance(self, name: str) -> "ErrorKind":
        """Return the same kind with this name in place of ``{instance}`` in its message."""
        return self.with_message(self.message.replace("{instance}", name))


INVALID_BODY = ErrorKind(400, "Invalid request body", "invalid_body")
INVALID_HANDSHAKE = ErrorKind(400, "Invalid WebSocket handshake", "invalid_handshake")
NO_SETTING_GIVEN = ErrorKind(400, "At least one setting must be provided", "no_setting_given")
NOT_ENABLED = ErrorKind(
    400,
    "WebSocket is not enabled for this instance. "
    "Configure it first using POST /api/events/websocket/{instance}",
    "not_enabled",
)
INVALID_TOKEN = ErrorKind(401, "Invalid token", "invalid_token")
ORIGIN_NOT_ALLOWED = ErrorKind(403, "Origin not allowed", "origin_not_allowed")
QUOTA_EXCEEDED = ErrorKind(403, "Account instance quota exceeded", "quota_exceeded")
NOT_FOUND = ErrorKind(404, "Not found", "not_found")
INSTANCE_NOT_FOUND = ErrorKind(404, "Instance not found", "instance_not_found")
NOT_CONFIGURED = ErrorKind(404, "WebSocket not configured for this instance", "not_configured")
METHOD_NOT_ALLOWED = ErrorKind(405, "Method not allowed", "method_not_allowed")
REQUEST_TIMEOUT = ErrorKind(408, "Request timeout", "request_timeout")
INSTANCE_EXISTS = ErrorKind(409, "Instance already exists", "instance_exists")
TOKEN_IN_USE = ErrorKind(409, "Token already in use", "token_in_use")
BODY_TOO_LARGE = ErrorKind(413, "Request body too large", "body_too_large")
UPGRADE_REQUIRED = ErrorKind(426, "Upgrade required", "upgrade_required")
RATE_LIMITED = ErrorKind(429, "Rate limit exceeded. Try again later.", "rate_limited")
HEADERS_TOO_LARGE = ErrorKind(431, "Request header fields too large", "headers_too_large")
INTERNAL_SERVER_ERROR = ErrorKind(500, "Internal server error", "internal_server_error")
DATABASE_FAILED = ErrorKind(500, "Failed to get instance", "database_failed")
CONFIG_READ_FAILED = ErrorKind(500, "Failed to get websocket configuration", "config_read_failed")
DRAINING = ErrorKind(503, "Server is shutting down", "draining")
TOO_MANY_CONNECTIONS = ErrorKind(503, "Too many connections", "too_many_connections")

# For errors that only have a status; the others of a status are raised by name.
_BY_STATUS = {
    kind.status: kind
    for kind in (
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        REQUEST_TIMEOUT,
        BODY_TOO_LARGE,
        HEADERS_TOO_LARGE,
        INTERNAL_SERVER_ERROR,
    )
}


class RyzeError(Exception):
    """Base class of our exceptions."""


class SettingsError(RyzeError):
    """A setting has an invalid value.

    Args:
        key: the environment variable, e.g. ``RYZE_PORT``.
        value: its value, masked where it is a secret.
        expected: description of valid values, the end of "expected ...".
    """

    def __init__(self, key: str, value: str, expected: str) -> None:
        super().__init__(f"{key}={value!r}: expected {expected}")
        self.key = key
        self.value = value
        self.expected = expected


class InvalidEvent(RyzeError):
    """A producer's input is not an event; the message names the fault."""


class ApiError(RyzeError):
    """Ends an HTTP request with an error response (contract, section 1).

    Args:
        kind: an entry of the catalogue.
        detail: appended to its message after a colon.
        headers: further headers of the response, e.g. ``Retry-After``.
    """

    def __init__(
        self, kind: ErrorKind, detail: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.kind = kind.with_detail(detail) if detail else kind
        self.status = self.kind.status
        self.message = self.kind.message
        self.reason = self.kind.reason
        self.headers = dict(headers or {})
        super().__init__(f"{self.status} {self.message}")


class StartError(RyzeError):
    """The server cannot start; the message says why and what to do, in one line."""


class KeyFileError(StartError):
    """The encryption key is missing, malformed, or not the key that sealed the tokens."""


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
    """Encode the JSON error body, which is the same for every route (contract, section 1)."""
    return msgspec.json.encode({"success": False, "error": {"message": message}})
