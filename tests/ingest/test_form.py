"""Forms with an event and a file: valid ones are decoded, others have a reason."""

import base64
from dataclasses import dataclass

import pytest

from ryze.errors import InvalidEvent
from ryze.events.event import Event
from ryze.ingest.form import decode_form

EVENT = b'{"event":"message.exchange","data":{"message":{"media": { "type":"image"} } }}'
FILE = bytes(range(256)) * 3 + b"\r\n--x\r\n--other--\r\n"
DATA = b'{"message":{"media": { "base64":"%b","type":"image"} } }'


@dataclass(frozen=True)
class Part:
    name: str
    content: bytes
    filename: str | None = None
    head: str = ""


def form(*parts: Part, boundary: str = "x-y", end: bytes = b"--\r\n") -> bytes:
    pieces = []
    for part in parts:
        filename = "" if part.filename is None else f'; filename="{part.filename}"'
        head = f'Content-Disposition: form-data; name="{part.name}"{filename}\r\n{part.head}\r\n'
        pieces.append(f"--{boundary}\r\n{head}".encode() + part.content + b"\r\n")
    return b"".join([*pieces, f"--{boundary}".encode(), end])


THE_EVENT = Part("event", EVENT)
THE_FILE = Part("media", FILE, "a.png", "Content-Type: image/png\r\n")


@pytest.mark.parametrize(
    "parts",
    [
        (THE_EVENT, THE_FILE),
        (THE_FILE, THE_EVENT),
        (Part("event", EVENT, "event.json"), THE_FILE),
        (THE_EVENT, Part("media", FILE, "")),
    ],
    ids=["event first", "file first", "event as a file", "file without a name"],
)
def test_file_is_put_into_the_media_object(parts: tuple[Part, ...]) -> None:
    data = DATA % base64.b64encode(FILE)
    assert decode_form(form(*parts), "x-y") == Event("message.exchange", data)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1_000_000])
def test_file_of_any_size_is_decoded(size: int) -> None:
    content = (b"\r\n--x-" * (size // 6 + 1))[:size]
    event = decode_form(form(THE_EVENT, Part("media", content, "f")), "x-y")
    assert event.data == DATA % base64.b64encode(content)


WRONG = {
    "nothing": (b"", "x-y", "not a form that comes to its end"),
    "no boundary given": (form(THE_EVENT, THE_FILE), "", "names no boundary"),
    "another boundary": (form(THE_EVENT, THE_FILE), "x-z", "is the boundary right?"),
    "another boundary, long": (bytes(500_000), "x-y", "no boundary where one must be"),
    "no parts": (form(), "x-y", "the part 'event' is missing"),
    "no file": (form(THE_EVENT), "x-y", "the part 'media' is missing"),
    "no event": (form(THE_FILE), "x-y", "the part 'event' is missing"),
    "two files": (form(THE_EVENT, THE_FILE, THE_FILE), "x-y", "the part 'media' comes twice"),
    "two events": (form(THE_EVENT, THE_EVENT), "x-y", "the part 'event' comes twice"),
    "another part": (form(Part("x", b""), THE_EVENT, THE_FILE), "x-y", "unknown part 'x'"),
    "a text for a file": (
        form(THE_EVENT, Part("media", b"QUJD")),
        "x-y",
        "the part 'media' must be a file",
    ),
    "no end": (form(THE_EVENT, THE_FILE, end=b"\r\n"), "x-y", "comes to its end"),
    "cut in the file": (form(THE_EVENT, THE_FILE)[:-300], "x-y", "comes to its end"),
    "a long head": (
        form(THE_EVENT, Part("media", b"", "f", f"X: {'x' * 200_000}\r\n")),
        "x-y",
        "the head of a part is too long",
    ),
    "no disposition": (b"--x-y\r\nA: b\r\n\r\nc\r\n--x-y--\r\n", "x-y", "not a form"),
    "no name": (
        b"--x-y\r\nContent-Disposition: form-data\r\n\r\nc\r\n--x-y--\r\n",
        "x-y",
        "unknown part None",
    ),
    "a head that is not UTF-8": (b"--x-y\r\n\xff: b\r\n\r\nc\r\n--x-y--\r\n", "x-y", "not a form"),
    "no JSON": (form(Part("event", b"{"), THE_FILE), "x-y", "truncated"),
    "no media object": (
        form(Part("event", b'{"event":"call.update","data":{"media":null}}'), THE_FILE),
        "x-y",
        "data.message.media or data.media without base64",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_invalid_form_has_a_reason(what: str) -> None:
    body, boundary, reason = WRONG[what]
    with pytest.raises(InvalidEvent) as refusal:
        decode_form(body, boundary)
    assert reason in str(refusal.value)
