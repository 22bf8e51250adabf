"""Caps of open connections are exact; 0 is no cap."""

import pytest

from ryze.access.caps import ConnectionCaps


@pytest.mark.parametrize(("cap", "count", "has_room"), [(2, 1, True), (2, 2, False), (0, 9, True)])
def test_cap_is_exact_and_zero_is_no_cap(cap: int, count: int, has_room: bool) -> None:
    assert ConnectionCaps(http=cap).has_http_room(count) == has_room
    assert ConnectionCaps(websockets=cap).has_websocket_room(count, 0) == has_room
    assert ConnectionCaps(websockets_per_instance=cap).has_websocket_room(9, count) == has_room


def test_either_websocket_cap_refuses() -> None:
    caps = ConnectionCaps(websockets=5, websockets_per_instance=2)
    assert caps.has_websocket_room(4, 1)
    assert not caps.has_websocket_room(5, 1)
    assert not caps.has_websocket_room(4, 2)
