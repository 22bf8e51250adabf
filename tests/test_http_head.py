"""Request heads: parsing in any split, size limit, targets."""

from contextlib import nullcontext, suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.errors import ApiError
from ryze.http_head import RequestParser, header, in_origin_form, is_websocket_target
from ryze.websocket.handshake import check_upgrade
from tests.websocket.harness import upgrade

HEAD = (
    b"GET /ws/shop?token=t HTTP/1.1\r\nHost: ryze.test\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


# --- Parsing ---


@given(st.lists(st.integers(1, len(HEAD) + 5), max_size=10), st.binary(max_size=20))
def test_any_split_gives_the_same_request_and_trailing_bytes(
    splits: list[int], behind: bytes
) -> None:
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
def test_invalid_http_is_refused(data: bytes) -> None:
    with pytest.raises(ApiError) as refusal:
        RequestParser(64).receive_data(data + b"\r\n" * 50)
    assert refusal.value.status in (400, 431)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_incomplete(data: bytes) -> None:
    with suppress(ApiError):
        assert RequestParser(16384).receive_data(data) is None


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
@pytest.mark.parametrize("excess", [0, 1])
def test_size_limit_is_exact(chunk: int, excess: int) -> None:
    head = HEAD[:-2] + b"X: " + b"x" * (1000 + excess - len(HEAD) - 5) + b"\r\n\r\n"
    assert len(head) == 1000 + excess
    parser = RequestParser(1000)
    with pytest.raises(ApiError, match="431") if excess else nullcontext():
        requests = [
            parser.receive_data(head[start : start + chunk]) for start in range(0, len(head), chunk)
        ]
        assert requests[-1] is not None


def test_trailing_bytes_do_not_count_against_the_limit() -> None:
    parser = RequestParser(len(HEAD))
    assert parser.receive_data(HEAD + bytes(5000)) is not None
    assert parser.trailing == bytes(5000)


def test_endless_head_is_refused() -> None:
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
def test_websocket_targets_are_get_under_ws(method: str, target: str, expected: bool) -> None:
    request = h11.Request(method=method, target=target, headers=[("host", "x")])
    assert is_websocket_target(request) == expected


# --- Targets ---


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
def test_absolute_target_gives_path_and_host(target: str, path: bytes, host: bytes) -> None:
    headers = list(upgrade().headers)
    request = in_origin_form(h11.Request(method="GET", target=target, headers=headers))
    assert request.target == path
    assert header(request, b"host") == host.decode()
    assert is_websocket_target(request) == path.startswith(b"/ws/")
