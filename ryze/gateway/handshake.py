"""An upgrade request, and the two ways to answer it: 101, or a refusal in JSON.

Nothing here waits or knows who may connect: bytes in, values and bytes out
(RFC 6455, section 4.2; RFC 7692, section 7.1 for permessage-deflate).
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import h11
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.utilities import generate_accept_token

from ryze.errors import ApiError, error_body

__all__ = [
    "GATEWAY_PATH",
    "RequestParser",
    "accept_response",
    "check_upgrade",
    "header",
    "is_for_gateway",
    "negotiate",
    "refusal_response",
]

GATEWAY_PATH = b"/ws/"

_NO_CONTEXT_TAKEOVER = ("server_no_context_takeover", "client_no_context_takeover")


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
            raise _not_http(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return event

    @property
    def trailing(self) -> bytes:
        """What came behind the request head."""
        return bytes(self._parser.trailing_data[0])


def is_for_gateway(request: h11.Request) -> bool:
    """Does the gateway answer this, not the HTTP routes?"""
    return request.method == b"GET" and request.target.startswith(GATEWAY_PATH)


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
        raise ApiError(426, "Upgrade required", {"Upgrade": "websocket"})
    version = header(request, b"sec-websocket-version")
    if version and version != "13":
        raise ApiError(
            426, "Upgrade required", {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        )
    well_formed = (
        request.http_version == b"1.1"
        and "websocket" in _tokens(upgrade)
        and "upgrade" in _tokens(header(request, b"connection"))
        and version
        and _is_key(header(request, b"sec-websocket-key"))
        and not _has_body(request)
    )
    if not well_formed:
        raise ApiError(400, "Invalid WebSocket handshake")


def negotiate(request: h11.Request) -> PerMessageDeflate | None:
    """The permessage-deflate that this client and we can agree on, if any.

    Without context takeover and with our full window, so that a compressed frame fits every
    client: an offer that asks us for a smaller window is declined.
    """
    for offer in header(request, b"sec-websocket-extensions").split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name == PerMessageDeflate.name and all(map(_is_acceptable, parameters)):
            extension = PerMessageDeflate()
            extension.finalize("; ".join((name, *_NO_CONTEXT_TAKEOVER)))
            return extension
    return None


def accept_response(
    request: h11.Request, extension: Extension | None, headers: Mapping[str, str]
) -> bytes:
    """The 101 for a request that `check_upgrade` has let pass, with more `headers`."""
    key = header(request, b"sec-websocket-key").encode()
    answer = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": generate_accept_token(key).decode(),
    }
    if extension is not None:
        answer["Sec-WebSocket-Extensions"] = "; ".join((extension.name, *_NO_CONTEXT_TAKEOVER))
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
    if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return ApiError(status, "Request header fields too large")
    return ApiError(400, "Invalid WebSocket handshake")


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


def _is_acceptable(parameter: str) -> bool:
    name, _, value = (part.strip().strip('"') for part in parameter.partition("="))
    if name in _NO_CONTEXT_TAKEOVER:
        return not value
    # We never name a window, so the client compresses with any up to 15 bits.
    return name == "client_max_window_bits" and value in _window_bits()


def _window_bits() -> Iterator[str]:
    yield ""
    yield from map(str, range(8, 16))
