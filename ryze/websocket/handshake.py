"""An upgrade request, and the two ways to answer it: 101, or a refusal in JSON.

Nothing here waits or knows who may connect: bytes in, values and bytes out
(RFC 6455, section 4.2; RFC 7692, section 7.1 for permessage-deflate).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus

import h11

from ryze.errors import (
    HEADERS_TOO_LARGE,
    INVALID_HANDSHAKE,
    UPGRADE_REQUIRED,
    ApiError,
    error_body,
)
from ryze.websocket.extensions import Offer, agree, parse_offers

__all__ = [
    "WEBSOCKET_PATH",
    "RequestParser",
    "accept_response",
    "check_upgrade",
    "header",
    "in_origin_form",
    "is_websocket_target",
    "negotiate",
    "refusal_response",
]

WEBSOCKET_PATH = b"/ws/"

# Section 1.3.
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# What stands before the path in a target of absolute form (RFC 9112, section 3.2.2).
_AUTHORITY = re.compile(rb"\A[a-z][a-z0-9+.-]*://([^/?]*)", re.I)


class RequestParser:
    """Turns the first bytes of a connection into a request.

    Args:
        max_bytes: a longer request head is refused.
    """

    def __init__(self, max_bytes: int) -> None:
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=max_bytes)
        self._max_bytes = max_bytes
        self._received = 0

    def receive_data(self, data: bytes) -> h11.Request | None:
        """Feed bytes; the request once its head is complete.

        Raises:
            ApiError: this is not HTTP, or the head is too large.
        """
        self._received += len(data)
        self._parser.receive_data(data)
        try:
            event = self._parser.next_event()
        except h11.RemoteProtocolError as error:
            raise _not_http(error.error_status_hint) from error
        if not isinstance(event, h11.Request):
            return None
        if self._received - len(self.trailing) > self._max_bytes:
            raise ApiError(HEADERS_TOO_LARGE)
        return event

    @property
    def trailing(self) -> bytes:
        """What came behind the request head."""
        return bytes(self._parser.trailing_data[0])


def in_origin_form(request: h11.Request) -> h11.Request:
    """The same request, its target without scheme and host (RFC 9112, section 3.2.2).

    A host in the target counts more than the header.
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
    """Does the gateway answer this, not the HTTP routes?"""
    return request.method == b"GET" and request.target.startswith(WEBSOCKET_PATH)


def header(request: h11.Request, name: bytes) -> str:
    """The values of a header, joined by commas (RFC 9110, section 5.3); empty if absent."""
    values = [value for key, value in request.headers if key == name]
    return b", ".join(values).decode("latin-1").strip()


def check_upgrade(request: h11.Request) -> None:
    """Is this a well-formed upgrade to WebSocket version 13? (RFC 6455, section 4.2.1).

    Raises:
        ApiError: 400 or 426, as in the contract, section 4.
    """
    upgrade = header(request, b"upgrade")
    if not upgrade:
        raise ApiError(UPGRADE_REQUIRED, headers={"Upgrade": "websocket"})
    version = header(request, b"sec-websocket-version")
    if version and version != "13":
        headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        raise ApiError(UPGRADE_REQUIRED, headers=headers)
    well_formed = (
        request.http_version == b"1.1"
        and "websocket" in _tokens(upgrade)
        and "upgrade" in _tokens(header(request, b"connection"))
        and version
        and _is_key(header(request, b"sec-websocket-key"))
        and not _has_body(request)
    )
    if not well_formed:
        raise ApiError(INVALID_HANDSHAKE)
    _offers(request)


def negotiate(request: h11.Request) -> str | None:
    """The extension that this client and we agree on, as the 101 names it; None for none."""
    return agree(_offers(request))


def accept_response(
    request: h11.Request, extension: str | None, headers: Mapping[str, str]
) -> bytes:
    """The 101 for a request that `check_upgrade` has let pass, with more `headers`.

    Args:
        request: see there.
        extension: what `negotiate` has said.
        headers: e.g. those of the rate limit.
    """
    answer = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": _accept_token(header(request, b"sec-websocket-key")),
    }
    if extension is not None:
        answer["Sec-WebSocket-Extensions"] = extension
    return _head(101, {**answer, **headers})


def refusal_response(refusal: ApiError) -> bytes:
    """The whole HTTP answer for a refused request; the connection ends with it."""
    body = error_body(refusal.message)
    answer = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close" if refusal.status != 426 else "Upgrade, close",
    }
    return _head(refusal.status, {**answer, **refusal.headers}) + body


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _not_http(status: int) -> ApiError:
    return ApiError(HEADERS_TOO_LARGE if status == HEADERS_TOO_LARGE.status else INVALID_HANDSHAKE)


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def _is_key(value: str) -> bool:
    """16 bytes in base64; two keys, joined by a comma, are none."""
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _has_body(request: h11.Request) -> bool:
    """A body would be read as frames: nobody sends one with an upgrade in good faith."""
    return header(request, b"content-length") not in ("", "0") or bool(
        header(request, b"transfer-encoding")
    )


def _accept_token(key: str) -> str:
    """The proof that its key was read (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT_GUID).digest()).decode()


def _offers(request: h11.Request) -> list[Offer]:
    try:
        return parse_offers(header(request, b"sec-websocket-extensions"))
    except ValueError as error:
        raise ApiError(INVALID_HANDSHAKE) from error
