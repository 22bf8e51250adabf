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
from typing import NamedTuple

__all__ = ["without_base64"]

_PATHS = (("message", "media", "base64"), ("media", "base64"))

_whitespace = re.compile(rb"[ \t\n\r]*")
# Possessive: a string that could be tried again would be remembered escape by escape.
_string = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_scalar = re.compile(rb"[^,\]}\s]+")
_nesting = re.compile(_string.pattern + rb"|[\[{]|[\]}]")


def without_base64(data: bytes) -> bytes:
    """The JSON object ``data`` without its ``media.base64``, at both places where it can stand."""
    # An escape can hide the name: "b\u0061se64" is the same key.
    if b"base64" not in data and b"\\u" not in data:
        return data
    cuts = sorted(cut for path in _PATHS for cut in _cuts(data, 0, path))
    return _without(data, cuts) if cuts else data


class _Member(NamedTuple):
    key: str
    # The member is data[start:end], its value data[value:end].
    start: int
    value: int
    end: int


def _cuts(data: bytes, start: int, path: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """The spans to remove so that no member at `path` is left in the object at `start`."""
    members = list(_members(data, start))
    if len(path) == 1:
        yield from _cuts_here(members, path[0])
        return
    for member in members:
        if member.key == path[0] and data[member.value : member.value + 1] == b"{":
            yield from _cuts(data, member.value, path[1:])


def _cuts_here(members: list[_Member], key: str) -> Iterator[tuple[int, int]]:
    """Each member named `key` goes with the comma behind it; the last, with the one before."""
    kept_end = None
    for index, member in enumerate(members):
        if member.key != key:
            kept_end = member.end
        elif index + 1 < len(members):
            yield member.start, members[index + 1].start
        else:
            yield member.start if kept_end is None else kept_end, member.end


def _members(data: bytes, start: int) -> Iterator[_Member]:
    """The members of the object that begins at `start`."""
    position = _end(_whitespace, data, start + 1)
    while data[position : position + 1] != b"}":
        key_end = _end(_string, data, position)
        value = _end(_whitespace, data, _end(_whitespace, data, key_end) + 1)
        end = _end_of_value(data, value)
        yield _Member(json.loads(data[position:key_end]), position, value, end)
        position = _end(_whitespace, data, end)
        if data[position : position + 1] == b",":
            position = _end(_whitespace, data, position + 1)


def _end_of_value(data: bytes, start: int) -> int:
    if data[start] not in b'"[{':
        return _end(_scalar, data, start)
    depth = 0
    for token in _nesting.finditer(data, start):
        first = data[token.start()]
        depth += (first in b"[{") - (first in b"]}")
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
