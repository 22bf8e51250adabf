"""Parsing of server addresses and validation of tokens."""

import pytest

from ryze.client import BadToken, BadUrl, ServerAddress, request


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://a.example/", "http://a.example"),
        ("ws://a.example:81", "http://a.example:81"),
        ("wss://a.example/ryze/", "https://a.example/ryze"),
        ("https://a.example:443", "https://a.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_urls_are_parsed(url: str, shown: str) -> None:
    assert str(ServerAddress.parse(url)) == shown


def test_path_segments_are_percent_encoded() -> None:
    assert ServerAddress.parse("http://a/ryze").path("ws", "a/b?c") == "/ryze/ws/a%2Fb%3Fc"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "ftp://a.example",
        "http://",
        "http://a:99999",
        "http://[::1",
        "http://a b",
        "http://a?token=x",
        "http://user@a",
        "http://a..b",
        f"http://{'a' * 64}.example",
    ],
)
def test_invalid_urls_are_rejected(url: str) -> None:
    with pytest.raises(BadUrl, match="is not an http:// or https:// URL"):
        ServerAddress.parse(url)


@pytest.mark.parametrize("token", ["", " ", "two words", "schlüssel", "a\r\nb: c"])
def test_a_token_that_is_no_header_value_is_rejected(token: str) -> None:
    with pytest.raises(BadToken):
        request("GET", "http://127.0.0.1:1", [], token=token)
