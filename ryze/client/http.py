"""Plain HTTP: one request, one JSON answer.

Synchronous, on the standard library. No proxy is used and no redirect followed: a token is sent
to the server that was named, and to nobody else.
"""

import contextlib
import http.client
from collections.abc import Sequence
from typing import Any

import msgspec

from ryze.client.error_text import NOT_JSON, cannot_reach, message_of
from ryze.client.server_address import Server, header_value
from ryze.errors import RyzeError

__all__ = ["RequestFailed", "publish", "request"]

# For each step of a request: the connection, and every read and write.
_REQUEST_SECONDS = 60.0


class RequestFailed(RyzeError):
    """A request was refused, or the server could not be reached.

    Args:
        message: what the server said, or what went wrong on the way.
        status: the HTTP status; None if there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message if status is None else f"{message} (HTTP {status})")
        self.message = message
        self.status = status


def publish(url: str, instance: str, token: str, event: str, data: bytes) -> dict[str, Any]:
    """Publish one event and return the server's answer.

    Args:
        url: the server, e.g. ``http://127.0.0.1:8080``.
        instance: to whose clients.
        token: a TokenInstance or TokenAccount.
        event: its type, e.g. ``message.exchange``.
        data: a JSON object, which goes out byte for byte.

    Raises:
        RequestFailed: the server said no, or could not be reached.
        BadUrl: `url` is not one.
        BadToken: `token` cannot be sent.
    """
    body = b'{"event":%b,"data":%b}' % (msgspec.json.encode(event), data)
    path = ("api", "events", "publish", instance)
    return request("POST", url, path, token=token, body=body)


def request(
    method: str, url: str, path: Sequence[str], *, token: str, body: bytes | None = None
) -> dict[str, Any]:
    """Send a request with a JSON body and return the JSON object that is the answer.

    Args:
        method: e.g. ``GET``.
        url: the server, e.g. ``http://127.0.0.1:8080``.
        path: the parts of the resource's path, not encoded yet.
        token: who asks.
        body: a JSON document.

    Raises:
        RequestFailed: the server said no, or could not be reached.
        BadUrl: `url` is not one.
        BadToken: `token` cannot be sent.
    """
    server = Server.at(url)
    headers = {"token": header_value(token), "Content-Type": "application/json"}
    try:
        status, answer = _exchange(server, method, server.path(*path), body, headers)
    except (OSError, http.client.HTTPException) as error:
        raise RequestFailed(cannot_reach(server, error)) from error
    if not 200 <= status < 300:
        raise RequestFailed(message_of(status, answer), status)
    return _object_of(status, answer)


def _exchange(
    server: Server, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    with contextlib.closing(_http_connection(server)) as connection:
        connection.connect()
        # A server that refuses a large body answers before it has read it all, and hangs up.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def _http_connection(server: Server) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if server.tls else http.client.HTTPConnection
    return kind(server.host, server.port, timeout=_REQUEST_SECONDS)


def _object_of(status: int, answer: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer, type=dict[str, Any])
    except NOT_JSON:
        raise RequestFailed("the answer is not ours: is this a ryze server?", status) from None
