"""The planned workload: each event and its expected frame follow from producer and number."""

import json
import re
import struct

from ryze.events.event import EVENT_TYPES
from ryze.records import WebsocketConfig

__all__ = ["Workload", "event_type", "passes", "server_frame"]

_NUMBERS = re.compile(rb'\{"event":"[a-z.]+","data":\{"producer":(\d+),"number":(\d+),')

# Text in every event, media in every message. The media of one in `_HEAVY_EVERY` is larger than
# what the server cuts out on its event loop: it takes a thread for that.
_TEXT = 'Ünïcode, \\\\ and \\" in it. ' + "x" * 120
_MEDIA_BYTES = 160
_HEAVY_BYTES = 12_000
_HEAVY_EVERY = 120


def event_type(number: int) -> str:
    """All six types in turn, so that no filter suppresses a producer's events for long."""
    return EVENT_TYPES[number % len(EVENT_TYPES)]


def passes(config: WebsocketConfig, number: int) -> bool:
    """Do subscribers receive the event of this number under this configuration?"""
    return config.enabled and (not config.events or event_type(number) in config.events)


def server_frame(payload: bytes) -> bytes:
    """A text message in one unmasked frame."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class Workload:
    """The events of one instance.

    Args:
        base_url: of the server.
        name: of the instance.
        token: TokenInstance of the instance.
    """

    def __init__(self, base_url: str, name: str, token: str) -> None:
        instance_data = {"baseUrl": base_url, "instance": name, "token": token}
        self._instance_data = json.dumps(instance_data, separators=(",", ":")).encode()

    def published(self, producer: int, number: int) -> bytes:
        """The event as the producer sends it."""
        data = _data(producer, number, media=True)
        return b'{"event":"%b","data":%b}' % (event_type(number).encode(), data)

    def frame(self, producer: int, number: int, *, media: bool) -> bytes:
        """The frame that every subscriber must receive."""
        data = _data(producer, number, media=media)
        envelope = b'{"event":"%b","data":%b,"instanceData":%b}'
        return server_frame(envelope % (event_type(number).encode(), data, self._instance_data))

    @staticmethod
    def numbers(payload: bytes) -> tuple[int, int] | None:
        """Producer and number of a received event; None if it is not from a workload."""
        found = _NUMBERS.match(payload)
        return (int(found[1]), int(found[2])) if found else None


def _data(producer: int, number: int, *, media: bool) -> bytes:
    head = f'{{"producer":{producer},"number":{number},"text":"{_TEXT}"'
    if number % len(EVENT_TYPES):
        return f"{head}}}".encode()
    size = _HEAVY_BYTES if number % _HEAVY_EVERY == 0 else _MEDIA_BYTES
    base64 = f'"base64":"{"A" * size}",' if media else ""
    return f'{head},"media":{{{base64}"mimetype":"image/png"}}}}'.encode()
