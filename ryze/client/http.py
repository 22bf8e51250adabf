"""Plain HTTP requests with JSON responses.

Synchronous, on the standard library. Uses no proxy and follows no redirect: the token is sent to
the given server only.
"""

import contextlib
import http.client
from collections.abc import Sequence
from typing import Any

import msgspec

from ryze.client.error_text import NOT_JSON, connect_error, server_message
from ryze.client.server_address import ServerAddress, validate_token
from ryze.errors import RyzeError

__all__ = ["RequestFailed", "publish", "request"]

# Per step: the connection, each read and each write.
_TIMEOUT_SECONDS = 60.0


class RequestFailed(RyzeError):
    """A request was refused, or the server could not be reached.

    Args:
        message: from the server, or a description of the failure.
        status: HTTP status; None without a response.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message if status is None else f"{message} (HTTP {status})")
        self.message = message
        self.status = status


def publish(url: str, instance: str, token: str, event: str, data: bytes) -> dict[str, Any]:
    """Publish one event and return the JSON response.

    Args:
        url: of the server, e.g. ``http://127.0.0.1:8080``.
        instance: name of the instance.
        token: TokenInstance or TokenAccount.
        event: event type, e.g. ``message.exchange``.
        data: JSON object, sent byte for byte.

    Raises:
        RequestFailed: the request was refused, or the server could not be reached.
        BadUrl: `url` is not an ``http://`` or ``https://`` URL.
        BadToken: `token` cannot be sent in a header.
    """
    body = b'{"event":%b,"data":%b}' % (msgspec.json.encode(event), data)
    path = ("api", "events", "publish", instance)
    return request("POST", url, path, token=token, body=body)


def request(
    method: str, url: str, path: Sequence[str], *, token: str, body: bytes | None = None
) -> dict[str, Any]:
    """Send a request and return the JSON object of the response.

    Args:
        method: e.g. ``GET``.
        url: of the server, e.g. ``http://127.0.0.1:8080``.
        path: segments of the path, not percent-encoded.
        token: TokenInstance or TokenAccount.
        body: JSON document.

    Raises:
        RequestFailed: the request was refused, or the server could not be reached.
        BadUrl: `url` is not an ``http://`` or ``https://`` URL.
        BadToken: `token` cannot be sent in a header.
    """
    address = ServerAddress.parse(url)
    headers = {"token": validate_token(token), "Content-Type": "application/json"}
    try:
        status, content = _exchange(address, method, address.path(*path), body, headers)
    except (OSError, http.client.HTTPException) as error:
        raise RequestFailed(connect_error(address, error)) from error
    if not 200 <= status < 300:
        raise RequestFailed(server_message(status, content), status)
    return _decode_object(status, content)


def _exchange(
    address: ServerAddress, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    with contextlib.closing(_http_connection(address)) as connection:
        connection.connect()
        # A server that refuses a large body responds before it has read all of it, and closes.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def _http_connection(address: ServerAddress) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if address.tls else http.client.HTTPConnection
    return kind(address.host, address.port, timeout=_TIMEOUT_SECONDS)


def _decode_object(status: int, content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except NOT_JSON:
        message = "expected a JSON object as response: is this a Ryze server?"
        raise RequestFailed(message, status) from None
