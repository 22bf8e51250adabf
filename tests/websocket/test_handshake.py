"""WebSocket handshake: checks of the upgrade request, extensions, the 101."""

import h11
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.extensions import PerMessageDeflate

from ryze.errors import ApiError
from ryze.http_head import RequestParser
from ryze.websocket.handshake import accept_response, check_upgrade, negotiate
from tests.websocket.harness import upgrade

HEAD = (
    b"GET /ws/shop?token=t HTTP/1.1\r\nHost: ryze.test\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


# --- Checks ---


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"upgrade": "WebSocket"},
        {"upgrade": "h2c, websocket"},
        {"connection": "keep-alive, Upgrade"},
        {"connection": "UPGRADE"},
        {"content_length": "0"},
    ],
)
def test_well_formed_upgrade_passes(headers: dict[str, str]) -> None:
    check_upgrade(upgrade(**headers))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"upgrade": ""}, 426),
        ({"sec_websocket_version": "8"}, 426),
        ({"sec_websocket_version": "13, 8"}, 426),
        ({"sec_websocket_version": ""}, 400),
        ({"upgrade": "h2c"}, 400),
        ({"upgrade": "websockets"}, 400),
        ({"connection": ""}, 400),
        ({"connection": "keep-alive"}, 400),
        ({"connection": "xupgrade"}, 400),
        ({"sec_websocket_key": ""}, 400),
        ({"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ"}, 400),
        ({"sec_websocket_key": "dGhlIHNhbXBsZSBub25j"}, 400),
        ({"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="}, 400),
        ({"content_length": "5"}, 400),
        ({"transfer_encoding": "chunked"}, 400),
    ],
)
def test_malformed_upgrade_is_refused_with_the_status_of_the_contract(
    headers: dict[str, str], status: int
) -> None:
    with pytest.raises(ApiError) as refusal:
        check_upgrade(upgrade(**headers))
    error = refusal.value
    assert error.status == status
    assert error.message == {400: "Invalid WebSocket handshake", 426: "Upgrade required"}[status]
    if "sec_websocket_version" in headers and status == 426:
        assert error.headers["Sec-WebSocket-Version"] == "13"


def test_key_with_non_ascii_bytes_is_refused() -> None:
    request = RequestParser(16384).receive_data(HEAD.replace(b"dGhl", b"\xe9\xe9\xe9\xe9"))
    assert request is not None
    with pytest.raises(ApiError, match="400"):
        check_upgrade(request)


def test_http_1_0_is_refused() -> None:
    request = upgrade()
    old = h11.Request(
        method="GET", target="/ws/shop", headers=list(request.headers), http_version="1.0"
    )
    with pytest.raises(ApiError, match="400"):
        check_upgrade(old)


# --- Extensions ---


@pytest.mark.parametrize("offer", ["", "x-other", "permessage-deflate; unknown"])
def test_declined_offers_do_not_fail_the_handshake(offer: str) -> None:
    request = upgrade(sec_websocket_extensions=offer)
    check_upgrade(request)
    assert negotiate(request) is None


def test_invalid_extensions_fail_the_handshake() -> None:
    request = upgrade(sec_websocket_extensions="permessage-deflate;")
    with pytest.raises(ApiError, match="400"):
        check_upgrade(request)


def test_offers_in_several_headers_are_joined() -> None:
    headers = [
        *upgrade().headers,
        (b"sec-websocket-extensions", b"x-other"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    ]
    request = h11.Request(method="GET", target="/ws/shop", headers=headers)
    check_upgrade(request)
    assert negotiate(request) is not None


# --- The 101 ---


def test_accept_token_is_that_of_the_rfc() -> None:
    response = accept_response(upgrade(), None, {"X-RateLimit-Limit": "100"})
    assert response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-RateLimit-Limit: 100\r\n\r\n"
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_wsproto_client_accepts_the_101(compressed: bool) -> None:
    client = WSConnection(ConnectionType.CLIENT)
    offered = [PerMessageDeflate(client_no_context_takeover=True)]
    raw = client.send(Request("ryze.test", "/ws/shop", extensions=[*offered]))
    if not compressed:
        raw = raw.replace(b"server_max_window_bits=15", b"server_max_window_bits=14")
    request = RequestParser(16384).receive_data(raw)
    assert request is not None
    extension = negotiate(request)
    assert (extension is not None) == compressed
    client.receive_data(accept_response(request, extension, {}))
    (accepted,) = client.events()
    assert isinstance(accepted, AcceptConnection)
    assert bool(accepted.extensions) == compressed
