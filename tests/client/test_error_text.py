"""What went wrong, in words."""

from ryze.client import Server
from ryze.client.error_text import cannot_reach


def test_an_error_without_words_shows_its_name() -> None:
    group = ExceptionGroup("all failed", [ValueError()])
    assert cannot_reach(Server.at("http://a"), group) == "cannot reach http://a: ValueError"
