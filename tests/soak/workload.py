"""What is published, and what must come of it: both follow from publisher and number."""

import json
import re
import struct

from ryze.events.event import EVENT_TYPES
from ryze.records import WebsocketConfig

__all__ = ["Script", "event_type", "passes", "server_frame"]

_NUMBERS = re.compile(rb'\{"event":"[a-z.]+","data":\{"publisher":(\d+),"number":(\d+),')

# Some text in every event, media in each message, and now and then more of it than the server
# cuts out without a thread.
_TEXT = 'Ünïcode, \\\\ and \\" in it. ' + "x" * 120
_MEDIA_BYTES = 160
_HEAVY_BYTES = 12_000
_HEAVY_EVERY = 120


def event_type(number: int) -> str:
    """All six in turn, so that no filter keeps a publisher quiet for long."""
    return EVENT_TYPES[number % len(EVENT_TYPES)]


def passes(config: WebsocketConfig, number: int) -> bool:
    """Do clients get the event of this number under this configuration?"""
    return config.enabled and (not config.events or event_type(number) in config.events)


def server_frame(payload: bytes) -> bytes:
    """A whole text message as a server sends it."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class Script:
    """The events of one instance.

    Args:
        base_url: of the server.
        name: of the instance.
        token: its TokenInstance.
    """

    def __init__(self, base_url: str, name: str, token: str) -> None:
        about = {"baseUrl": base_url, "instance": name, "token": token}
        self._about = json.dumps(about, separators=(",", ":")).encode()

    def published(self, publisher: int, number: int) -> bytes:
        """What the producer sends."""
        data = _data(publisher, number, media=True)
        return b'{"event":"%b","data":%b}' % (event_type(number).encode(), data)

    def frame(self, publisher: int, number: int, *, media: bool) -> bytes:
        """What every client must receive."""
        data = _data(publisher, number, media=media)
        envelope = b'{"event":"%b","data":%b,"instanceData":%b}'
        return server_frame(envelope % (event_type(number).encode(), data, self._about))

    @staticmethod
    def numbers(payload: bytes) -> tuple[int, int] | None:
        """Producer and number of an event that was received; None if it is none of ours."""
        found = _NUMBERS.match(payload)
        return (int(found[1]), int(found[2])) if found else None


def _data(publisher: int, number: int, *, media: bool) -> bytes:
    head = f'{{"publisher":{publisher},"number":{number},"text":"{_TEXT}"'
    if number % len(EVENT_TYPES):
        return f"{head}}}".encode()
    size = _HEAVY_BYTES if number % _HEAVY_EVERY == 0 else _MEDIA_BYTES
    base64 = f'"base64":"{"A" * size}",' if media else ""
    return f'{head},"media":{{{base64}"mimetype":"image/png"}}}}'.encode()
