"""Upgrade requests: what is let in, what is refused and how."""

import json
from contextlib import nullcontext, suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.extensions import PerMessageDeflate

from ryze.errors import UPGRADE_REQUIRED, ApiError, ErrorKind
from ryze.websocket.handshake import (
    RequestParser,
    accept_response,
    check_upgrade,
    header,
    in_origin_form,
    is_websocket_target,
    negotiate,
    refusal_response,
)
from tests.websocket.harness import upgrade

HEAD = (
    b"GET /ws/shop?token=t HTTP/1.1\r\nHost: ryze.test\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


# --- Reading the request ---


@given(st.lists(st.integers(1, len(HEAD) + 5), max_size=10), st.binary(max_size=20))
def test_any_split_gives_the_same_request_and_rest(splits: list[int], behind: bytes) -> None:
    parser = RequestParser(16384)
    whole, position, request = HEAD + behind, 0, None
    for split in [*sorted(splits), len(whole)]:
        if request is None and whole[position:split]:
            request = parser.receive_data(whole[position:split])
            position = split
    assert request is not None
    assert request.target == b"/ws/shop?token=t"
    assert header(request, b"upgrade") == "websocket"
    assert parser.trailing + whole[position:] == behind
    check_upgrade(request)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /ws/ HTTP/1.1\r\n\r\n",
        b"GET  HTTP/1.1\r\n",
        b"\r\n" * 50,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(ApiError) as refusal:
        RequestParser(64).receive_data(data + b"\r\n" * 50)
    assert refusal.value.status in (400, 431)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(data: bytes) -> None:
    with suppress(ApiError):
        assert RequestParser(16384).receive_data(data) is None


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
@pytest.mark.parametrize("excess", [0, 1])
def test_a_head_of_the_greatest_size_passes_and_one_more_byte_does_not(
    chunk: int, excess: int
) -> None:
    head = HEAD[:-2] + b"X: " + b"x" * (1000 + excess - len(HEAD) - 5) + b"\r\n\r\n"
    assert len(head) == 1000 + excess
    parser = RequestParser(1000)
    with pytest.raises(ApiError, match="431") if excess else nullcontext():
        requests = [
            parser.receive_data(head[start : start + chunk]) for start in range(0, len(head), chunk)
        ]
        assert requests[-1] is not None


def test_bytes_behind_the_head_do_not_count() -> None:
    parser = RequestParser(len(HEAD))
    assert parser.receive_data(HEAD + bytes(5000)) is not None
    assert parser.trailing == bytes(5000)


def test_an_endless_head_is_refused() -> None:
    parser = RequestParser(1000)
    parser.receive_data(b"GET /ws/shop HTTP/1.1\r\n")
    for _ in range(30):
        assert parser.receive_data(b"X: aaaaaaaaaaaaaaaaaaaaaaa\r\n") is None
    with pytest.raises(ApiError, match="431"):
        parser.receive_data(b"X: " + b"a" * 1000)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/ws/shop", True),
        ("GET", "/ws/", True),
        ("GET", "/ws", False),
        ("POST", "/ws/shop", False),
        ("HEAD", "/ws/shop", False),
        ("GET", "/api/ws/", False),
    ],
)
def test_only_get_under_ws_is_for_the_gateway(method: str, target: str, expected: bool) -> None:
    request = h11.Request(method=method, target=target, headers=[("host", "x")])
    assert is_websocket_target(request) == expected


# --- Is it an upgrade? ---


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
def test_well_formed_upgrades_pass(headers: dict[str, str]) -> None:
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
def test_others_are_refused_as_the_contract_says(headers: dict[str, str], status: int) -> None:
    with pytest.raises(ApiError) as refusal:
        check_upgrade(upgrade(**headers))
    error = refusal.value
    assert error.status == status
    assert error.message == {400: "Invalid WebSocket handshake", 426: "Upgrade required"}[status]
    if "sec_websocket_version" in headers and status == 426:
        assert error.headers["Sec-WebSocket-Version"] == "13"


def test_a_key_that_is_not_ascii_is_refused() -> None:
    request = RequestParser(16384).receive_data(HEAD.replace(b"dGhl", b"\xe9\xe9\xe9\xe9"))
    assert request is not None
    with pytest.raises(ApiError, match="400"):
        check_upgrade(request)


def test_http_1_0_cannot_upgrade() -> None:
    request = upgrade()
    old = h11.Request(
        method="GET", target="/ws/shop", headers=list(request.headers), http_version="1.0"
    )
    with pytest.raises(ApiError, match="400"):
        check_upgrade(old)


# --- Compression ---


@pytest.mark.parametrize("offer", ["", "x-other", "permessage-deflate; unknown"])
def test_what_we_do_not_agree_on_harms_no_handshake(offer: str) -> None:
    request = upgrade(sec_websocket_extensions=offer)
    check_upgrade(request)
    assert negotiate(request) is None


def test_extensions_that_are_none_fail_the_handshake() -> None:
    request = upgrade(sec_websocket_extensions="permessage-deflate;")
    with pytest.raises(ApiError, match="400"):
        check_upgrade(request)


def test_offers_may_stand_in_several_headers() -> None:
    headers = [
        *upgrade().headers,
        (b"sec-websocket-extensions", b"x-other"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    ]
    request = h11.Request(method="GET", target="/ws/shop", headers=headers)
    check_upgrade(request)
    assert negotiate(request) is not None


# --- The target ---


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/ws/shop?token=t", b"/ws/shop?token=t", b"ryze.test"),
        ("http://a.test:81/ws/shop?token=t", b"/ws/shop?token=t", b"a.test:81"),
        ("WSS://a.test", b"/", b"a.test"),
        ("http://a.test?x=/ws/", b"/?x=/ws/", b"a.test"),
        ("*", b"*", b"ryze.test"),
    ],
)
def test_an_absolute_target_names_path_and_host(target: str, path: bytes, host: bytes) -> None:
    headers = list(upgrade().headers)
    request = in_origin_form(h11.Request(method="GET", target=target, headers=headers))
    assert request.target == path
    assert header(request, b"host") == host.decode()
    assert is_websocket_target(request) == path.startswith(b"/ws/")


# --- The answers ---


def test_the_accept_token_is_that_of_the_rfc() -> None:
    response = accept_response(upgrade(), None, {"X-RateLimit-Limit": "100"})
    assert response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-RateLimit-Limit: 100\r\n\r\n"
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_a_client_of_wsproto_accepts_the_101(compressed: bool) -> None:
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


def test_a_refusal_is_json_and_ends_the_connection() -> None:
    client = WSConnection(ConnectionType.CLIENT)
    client.send(Request("ryze.test", "/ws/shop"))
    kind = ErrorKind(429, "Slow\u00e9", "slow")
    client.receive_data(refusal_response(ApiError(kind, headers={"Retry-After": "7"})))
    rejection, *body = client.events()
    assert isinstance(rejection, RejectConnection)
    text = b"".join(part.data for part in body if isinstance(part, RejectData))
    assert rejection.status_code == 429
    headers = dict(rejection.headers)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"retry-after"] == b"7"
    assert headers[b"connection"] == b"close"
    assert json.loads(text) == {"success": False, "error": {"message": "Slow\u00e9"}}


def test_an_upgrade_that_is_required_is_named() -> None:
    response = refusal_response(ApiError(UPGRADE_REQUIRED, headers={"Upgrade": "websocket"}))
    assert b"\r\nConnection: Upgrade, close\r\n" in response
    assert b"\r\nUpgrade: websocket\r\n" in response
