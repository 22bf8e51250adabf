"""Format and size of media."""

import base64

from .harness import exchanges, kind, traffic


def test_images_are_pngs_of_about_the_requested_size() -> None:
    events = [event for event in exchanges(traffic(5, media_bytes=9000)) if kind(event) == "image"]
    for event in events:
        image = base64.b64decode(event.data["message"]["media"]["base64"], validate=True)
        assert image.startswith(b"\x89PNG\r\n\x1a\n")
        assert image.endswith(b"IEND\xaeB`\x82")
        assert 8000 < len(image) < 10_000
