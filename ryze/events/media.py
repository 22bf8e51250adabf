"""The one thing that Ryze changes in an event: ``media.base64``.

Where an instance has ``mediaBase64: false``, the member ``base64`` of ``data.message.media``
and of ``data.media`` is removed, and nothing else changes, white space included (contract,
section 6). So the text is scanned for the span of that member and cut, never re-encoded. In the
same way ``"base64Omitted": "too_large"`` takes its place where a frame would be too large, and a
file that comes beside its event is put there.

The input is an object that has been checked already (`ryze.events`): the scanner looks for
members, not for errors. It works on UTF-8 bytes, in which every structural character of JSON
is a byte of its own, and does not recurse into what it skips, however deep that is.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

__all__ = ["may_have_base64", "with_base64", "with_base64_omitted", "without_base64"]

_MEDIA = (("message", "media"), ("media",))
_PATHS = tuple((*path, "base64") for path in _MEDIA)
_OMITTED = b'"base64Omitted":"too_large"'

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
    return _with_spans(data, [_cut(member) for member in _all_base64(data)], b"")


def with_base64_omitted(data: bytes) -> bytes:
    """Likewise, but with ``"base64Omitted":"too_large"`` in its place."""
    if not may_have_base64(data):
        return data
    return _with_spans(data, [(each.start, each.end) for each in _all_base64(data)], _OMITTED)


def with_base64(data: bytes, base64: bytes) -> bytes | None:
    """The JSON object ``data`` with ``base64`` (characters of it) in its media object.

    Returns:
        None if it has no media object, or if there is a ``base64`` in it already.
    """
    if next(_all_base64(data), None) is not None:
        return None
    for path in _MEDIA:
        # Of several with the same name the last one counts for those who read it.
        for media in reversed(list(_members(data, 0, path))):
            if data[media.value : media.value + 1] == b"{":
                start = _end(_whitespace, data, media.value + 1)
                comma = b"" if data[start : start + 1] == b"}" else b","
                return b'%b"base64":"%b"%b%b' % (data[:start], base64, comma, data[start:])
    return None


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


def _all_base64(data: bytes) -> Iterator[_Member]:
    return (member for path in _PATHS for member in _members(data, 0, path))


def _members(data: bytes, start: int, path: tuple[str, ...]) -> Iterator[_Member]:
    """The members at `path` of the object at `start`."""
    for member in _named(data, start, path[0]):
        if len(path) == 1:
            yield member
        elif data[member.value : member.value + 1] == b"{":
            yield from _members(data, member.value, path[1:])


def _cut(member: _Member) -> tuple[int, int]:
    """The span to remove so that the member is gone."""
    if member.next is not None:
        # It goes with the comma behind it; the last one with the comma before it.
        return member.start, member.next
    return member.start if member.kept_end is None else member.kept_end, member.end


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


def _with_spans(data: bytes, spans: list[tuple[int, int]], replacement: bytes) -> bytes:
    """`data` with `replacement` for each span; they may overlap where that is nothing."""
    if not spans:
        return data
    kept, position = [], 0
    for start, end in sorted(spans):
        kept.append(data[position:start])
        position = max(position, end)
    return replacement.join([*kept, data[position:]])
