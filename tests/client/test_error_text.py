"""Error messages for a terminal."""

from ryze.client import ServerAddress
from ryze.client.error_text import connect_error


def test_an_error_without_text_shows_its_class() -> None:
    group = ExceptionGroup("all failed", [ValueError()])
    assert (
        connect_error(ServerAddress.parse("http://a"), group) == "cannot reach http://a: ValueError"
    )
