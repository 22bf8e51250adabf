"""The WebSocket handshake, without I/O: check of the upgrade request, and the 101.

RFC 6455, section 4.2; RFC 7692, section 7.1 for permessage-deflate. Authorization is not checked
here.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping

import h11

from ryze.errors import INVALID_HANDSHAKE, UPGRADE_REQUIRED, ApiError
from ryze.http_head import header, response_head
from ryze.websocket.extensions import Offer, agree, parse_offers

__all__ = ["accept_response", "check_upgrade", "negotiate"]

# Section 1.3.
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def check_upgrade(request: h11.Request) -> None:
    """Check that a request is a well-formed upgrade to WebSocket version 13 (section 4.2.1).

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
    is_well_formed = (
        request.http_version == b"1.1"
        and "websocket" in _tokens(upgrade)
        and "upgrade" in _tokens(header(request, b"connection"))
        and version
        and _is_key(header(request, b"sec-websocket-key"))
        and not _has_body(request)
    )
    if not is_well_formed:
        raise ApiError(INVALID_HANDSHAKE)
    _offers(request)


def negotiate(request: h11.Request) -> str | None:
    """Return the agreed extension as the 101 names it; None if there is none."""
    return agree(_offers(request))


def accept_response(
    request: h11.Request, extension: str | None, headers: Mapping[str, str]
) -> bytes:
    """Encode the 101.

    Args:
        request: has passed `check_upgrade`.
        extension: the result of `negotiate`.
        headers: further headers, e.g. those of the rate limit.
    """
    response = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": _accept_token(header(request, b"sec-websocket-key")),
    }
    if extension is not None:
        response["Sec-WebSocket-Extensions"] = extension
    return response_head(101, {**response, **headers})


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def _is_key(value: str) -> bool:
    """Is this the base64 of 16 bytes? Two keys, joined by a comma, are not."""
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _has_body(request: h11.Request) -> bool:
    """Does the request have a body? It would be read as frames; no client sends one with intent."""
    return header(request, b"content-length") not in ("", "0") or bool(
        header(request, b"transfer-encoding")
    )


def _accept_token(key: str) -> str:
    """Return the proof that the key was read (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT_GUID).digest()).decode()


def _offers(request: h11.Request) -> list[Offer]:
    try:
        return parse_offers(header(request, b"sec-websocket-extensions"))
    except ValueError as error:
        raise ApiError(INVALID_HANDSHAKE) from error
