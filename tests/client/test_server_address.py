"""Where a server is, read from what people type."""

import pytest

from ryze.client import BadToken, BadUrl, Server, request


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
def test_servers_are_read_from_urls(url: str, shown: str) -> None:
    assert str(Server.at(url)) == shown


def test_parts_of_a_path_are_encoded() -> None:
    assert Server.at("http://a/ryze").path("ws", "a/b?c") == "/ryze/ws/a%2Fb%3Fc"


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
def test_other_addresses_are_bad(url: str) -> None:
    with pytest.raises(BadUrl, match="is not an http:// or https:// URL"):
        Server.at(url)


@pytest.mark.parametrize("token", ["", " ", "two words", "schlüssel", "a\r\nb: c"])
def test_a_token_that_cannot_be_sent_is_told(token: str) -> None:
    with pytest.raises(BadToken):
        request("GET", "http://127.0.0.1:1", [], token=token)
