"""The one thing that Ryze changes in an event: ``media.base64`` goes where nobody wants it.

Where an instance has ``mediaBase64: false``, the member ``base64`` of ``data.message.media``
and of ``data.media`` is removed, and nothing else changes, white space included (contract,
section 6). So the text is scanned for the span of that member and cut, never re-encoded.

The input is an object that has been checked already (`ryze.events`): the scanner looks for
members, not for errors. It works on UTF-8 bytes, in which every structural character of JSON
is a byte of its own, and does not recurse into what it skips, however deep that is.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

__all__ = ["may_have_base64", "without_base64"]

_PATHS = (("message", "media", "base64"), ("media", "base64"))

_WS = rb"[ \t\n\r]*+"
# Possessive everywhere: a string that could be tried again would be remembered piece by piece.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SCALAR = rb'[^,\]}\[{"\s]++'
# A container without another one inside is passed over in one go.
_FLAT = rb"\[(?:[^\"\[\]{}]++|" + _STRING + rb")*+\]|\{(?:[^\"\[\]{}]++|" + _STRING + rb")*+\}"

_whitespace = re.compile(_WS)
_string = re.compile(_STRING)
_scalar = re.compile(_SCALAR)
_flat = re.compile(_FLAT)
_nesting = re.compile(
    rb"(?:[^\"\[\]{}]++|" + _STRING + rb"|" + _FLAT + rb")++"
    rb"|(?P<opening>[\[{])|(?P<closing>[\]}])"
)


def without_base64(data: bytes) -> bytes:
    """The JSON object ``data`` without its ``media.base64``, at both places where it can stand."""
    if not may_have_base64(data):
        return data
    cuts = sorted(cut for path in _PATHS for cut in _cuts(data, 0, path))
    return _without(data, cuts) if cuts else data


def may_have_base64(data: bytes) -> bool:
    """A quick look that spares most events the scan."""
    # An escape can hide the name: "b\u0061se64" is the same key.
    return b"base64" in data or b"\\u" in data


class _Member(NamedTuple):
    """A member of an object; all are positions in the text."""

    start: int
    value: int
    end: int
    # The end of the last one before it that stays; None if there is none.
    kept_end: int | None
    # Where the next member begins; None for the last one.
    next: int | None


def _cuts(data: bytes, start: int, path: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """The spans to remove so that no member at `path` is left in the object at `start`."""
    for member in _named(data, start, path[0]):
        if len(path) > 1:
            if data[member.value : member.value + 1] == b"{":
                yield from _cuts(data, member.value, path[1:])
        elif member.next is not None:
            # It goes with the comma behind it; the last one with the comma before it.
            yield member.start, member.next
        else:
            yield member.start if member.kept_end is None else member.kept_end, member.end


def _named(data: bytes, start: int, name: str) -> Iterator[_Member]:
    """The members called `name` of the object that begins at `start`, duplicates too."""
    others = _others(name)
    kept_end = None
    position = _end(_whitespace, data, start + 1)
    while data[position : position + 1] != b"}":
        if (run := _end(others, data, position)) > position:
            kept_end, position = _end_before_comma(data, run), run
            continue
        key_end = _end(_string, data, position)
        value = _end(_whitespace, data, _end(_whitespace, data, key_end) + 1)
        end = _end_of_value(data, value)
        begin, position = position, _end(_whitespace, data, end)
        comma = data[position : position + 1] == b","
        if comma:
            position = _end(_whitespace, data, position + 1)
        if json.loads(data[begin:key_end]) == name:
            yield _Member(begin, value, end, kept_end, position if comma else None)
        else:
            kept_end = end


@cache
def _others(name: str) -> re.Pattern[bytes]:
    """Members with another name, a plain value and a comma behind it, as many as there are.

    Passing over them in one go is what bounds the time for an object of a million members.
    """
    key = rb'"(?!' + name.encode() + rb'")[^"\\]*+"'
    value = rb"(?:" + _STRING + rb"|" + _SCALAR + rb"|" + _FLAT + rb")"
    return re.compile(rb"(?:" + key + _WS + rb":" + _WS + value + _WS + rb"," + _WS + rb")*+")


def _end_before_comma(data: bytes, position: int) -> int:
    """Where the member ends whose comma is the last thing before `position`."""
    end = data.rindex(b",", 0, position)
    while data[end - 1] in b" \t\n\r":
        end -= 1
    return end


def _end_of_value(data: bytes, start: int) -> int:
    for pattern in (_string, _scalar, _flat):
        if match := pattern.match(data, start):
            return match.end()
    depth = 0
    for token in _nesting.finditer(data, start):
        depth += (token.lastgroup == "opening") - (token.lastgroup == "closing")
        if depth == 0:
            return token.end()
    raise ValueError("not a JSON value")


def _end(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    match = pattern.match(data, start)
    if match is None:
        raise ValueError("not a JSON object")
    return match.end()


def _without(data: bytes, cuts: list[tuple[int, int]]) -> bytes:
    kept, position = [], 0
    for start, end in cuts:
        kept.append(data[position:start])
        position = max(position, end)
    return b"".join([*kept, data[position:]])
