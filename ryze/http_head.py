"""HTTP/1.1 request heads and response heads, without I/O (RFC 9112).

A head is the first line and the headers. Used for requests that may ask for a WebSocket; all
other requests are parsed by Hypercorn.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

import h11

from ryze.errors import HEADERS_TOO_LARGE, INVALID_HANDSHAKE, ApiError

__all__ = [
    "WEBSOCKET_PATH",
    "RequestParser",
    "header",
    "in_origin_form",
    "is_websocket_target",
    "response_head",
]

WEBSOCKET_PATH = b"/ws/"

# Scheme and host in a target of absolute form (RFC 9112, section 3.2.2).
_AUTHORITY = re.compile(rb"\A[a-z][a-z0-9+.-]*://([^/?]*)", re.I)


class RequestParser:
    """Parse the first request head of a connection.

    Args:
        max_bytes: a longer request head is refused.
    """

    def __init__(self, max_bytes: int) -> None:
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=max_bytes)
        self._max_bytes = max_bytes
        self._received = 0

    def receive_data(self, data: bytes) -> h11.Request | None:
        """Feed bytes; return the request once its head is complete.

        Raises:
            ApiError: 400, the bytes are not HTTP; 431, the head is too large.
        """
        self._received += len(data)
        self._parser.receive_data(data)
        try:
            event = self._parser.next_event()
        except h11.RemoteProtocolError as error:
            is_too_large = error.error_status_hint == HEADERS_TOO_LARGE.status
            raise ApiError(HEADERS_TOO_LARGE if is_too_large else INVALID_HANDSHAKE) from error
        if not isinstance(event, h11.Request):
            return None
        # h11 checks the size of incomplete heads only.
        if self._received - len(self.trailing) > self._max_bytes:
            raise ApiError(HEADERS_TOO_LARGE)
        return event

    @property
    def trailing(self) -> bytes:
        """The bytes after the request head."""
        return bytes(self._parser.trailing_data[0])


def in_origin_form(request: h11.Request) -> h11.Request:
    """Return the request with scheme and host removed from its target (RFC 9112, section 3.2.2).

    A host in the target replaces the ``Host`` header.
    """
    match = _AUTHORITY.match(request.target)
    if match is None:
        return request
    path = request.target[match.end() :]
    headers = [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method,
        target=path if path.startswith(b"/") else b"/" + path,
        headers=[(b"host", match[1]), *headers],
        http_version=request.http_version,
    )


def is_websocket_target(request: h11.Request) -> bool:
    """Is this a request for a WebSocket, well-formed or not, rather than for an HTTP route?"""
    return request.method == b"GET" and request.target.startswith(WEBSOCKET_PATH)


def header(request: h11.Request, name: bytes) -> str:
    """Return the values of a header, joined by commas (RFC 9110, section 5.3); empty if absent."""
    values = [value for key, value in request.headers if key == name]
    return b", ".join(values).decode("latin-1").strip()


def response_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Encode the head of a response."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
