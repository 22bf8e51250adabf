"""Media look like media."""

import base64

from .harness import exchanges, kind, traffic


def test_pictures_are_pictures_of_about_the_size_that_was_asked() -> None:
    images = [event for event in exchanges(traffic(5, media_bytes=9000)) if kind(event) == "image"]
    for event in images:
        picture = base64.b64decode(event.data["message"]["media"]["base64"], validate=True)
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert picture.endswith(b"IEND\xaeB`\x82")
        assert 8000 < len(picture) < 10_000
