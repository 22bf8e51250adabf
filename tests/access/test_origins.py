"""Origins: the setting, our own pages, CORS headers; tests/api/test_cors.py has the responses."""

import pytest

from ryze.access.origins import cors_headers, is_allowed, is_same_origin

PAGE = "https://app.example"


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        (PAGE, {PAGE}, True),
        ("HTTPS://App.Example", {PAGE}, True),
        ("https://app.example:444", {PAGE}, False),
        ("http://app.example", {PAGE}, False),
        ("null", {PAGE}, False),
        (PAGE, set(), False),
        ("null", {"*"}, True),
    ],
)
def test_origin_is_compared_with_the_setting_without_case(
    origin: str, allowed: set[str], expected: bool
) -> None:
    assert is_allowed(origin, allowed) is expected


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("https://ryze.test", "ryze.test", True),
        ("http://RYZE.test:8080", "ryze.TEST:8080", True),
        ("https://ryze.test:8080", "ryze.test", False),
        ("https://other.test", "ryze.test", False),
        ("null", "ryze.test", False),
        ("https://[::1", "ryze.test", False),
    ],
)
def test_own_pages_are_recognized_by_host_and_port(origin: str, host: str, expected: bool) -> None:
    assert is_same_origin(origin, host) is expected


@pytest.mark.parametrize("origin", [PAGE, "https://evil.example", ""])
def test_cors_headers_name_the_origin_only_if_it_is_allowed(origin: str) -> None:
    headers = cors_headers(origin, {PAGE})
    assert headers["Vary"] == "Origin"
    assert headers.get("Access-Control-Allow-Origin") == (PAGE if origin == PAGE else None)
    assert cors_headers(origin, set()) == {}
    assert cors_headers(origin, {"*"})["Access-Control-Allow-Origin"] == "*"
