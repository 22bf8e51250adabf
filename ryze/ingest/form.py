"""One event with its media as a file: ``multipart/form-data`` (contract, section 6).

    event   the JSON of one event with a media object
    media   a file, which is put into that object as ``base64``

Both in any order, each once, and no other part. The caller limits the size of the form, which is in
memory as a whole: nothing is written to disk.
"""

import base64
from collections.abc import Iterator
from typing import NamedTuple

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Field, File, MultipartDecoder, NeedData

from ryze.errors import InvalidEvent
from ryze.events.decoding import decode_event
from ryze.events.event import Event

__all__ = ["FORM", "decode_form"]

#: The media type.
FORM = "multipart/form-data"

# The decoder is fed in pieces, and its undecoded input, such as the head of a part, may be as long
# as two of them: this bounds its work.
_PIECE_BYTES = 64 * 1024


class _Part(NamedTuple):
    name: str | None
    is_file: bool
    content: list[bytes]


def decode_form(body: bytes, boundary: str) -> Event:
    """Decode the event of a form and put its media file into it.

    Args:
        body: the whole form.
        boundary: separates its parts; from the ``Content-Type``.

    Raises:
        InvalidEvent: the message says what is wrong with it.
    """
    if not boundary:
        raise InvalidEvent("the Content-Type names no boundary")
    parts: dict[str, _Part] = {}
    for part in _parts(body, boundary):
        if part.name not in ("event", "media"):
            raise InvalidEvent(f"unknown part {part.name!r}: expected event and media")
        if part.name in parts:
            raise InvalidEvent(f"the part {part.name!r} comes twice")
        parts[part.name] = part
    for name in ("event", "media"):
        if name not in parts:
            raise InvalidEvent(f"the part {name!r} is missing")
    if not parts["media"].is_file:
        raise InvalidEvent("the part 'media' must be a file: it has no file name")
    event = decode_event(b"".join(parts["event"].content))
    return event.with_media(base64.b64encode(b"".join(parts["media"].content)))


def _parts(body: bytes, boundary: str) -> Iterator[_Part]:
    """Yield each part when it begins; its content is complete when the next one is yielded."""
    decoder = MultipartDecoder(boundary.encode(), max_form_memory_size=2 * _PIECE_BYTES)
    content: list[bytes] = []
    try:
        for start in range(0, len(body), _PIECE_BYTES):
            decoder.receive_data(body[start : start + _PIECE_BYTES])
            while not isinstance(event := decoder.next_event(), NeedData):
                if isinstance(event, File | Field):
                    content = []
                    yield _Part(event.name, isinstance(event, File), content)
                elif isinstance(event, Data):
                    content.append(event.data)
        # Raises ValueError if the form is incomplete.
        decoder.receive_data(None)
        decoder.next_event()
    except RequestEntityTooLarge as error:
        raise InvalidEvent(
            "no boundary where one must be, or the head of a part is too long"
        ) from error
    except ValueError as error:
        raise InvalidEvent("not a form that comes to its end; is the boundary right?") from error
