"""``media.base64``, the only member of an event that Ryze changes.

For an instance with ``mediaBase64: false``, the member ``base64`` of ``data.message.media`` and of
``data.media`` is removed, and nothing else changes, white space included (contract, section 6). So
the text is scanned for the span of that member and cut, never re-encoded. In the same way the
member is replaced with ``"base64Omitted": "too_large"`` in a frame that would be too large, and
added for a file that comes with its event.

The input is an object that has been checked already (`ryze.events.decoding`): the scan looks for
members, not for errors. It works on UTF-8 bytes, in which every structural character of JSON is one
byte, and does not recurse into the values that it skips, however deep they are nested.
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
# Possessive everywhere: backtracking would keep a record of every piece of a string.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SCALAR = rb'[^,\]}\[{"\s]++'
# A container without another one inside is matched as a whole.
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
    """Remove ``media.base64`` from the JSON object ``data``, in both places where it can stand."""
    if not may_have_base64(data):
        return data
    return _with_spans(data, [_cut(member) for member in _all_base64(data)], b"")


def with_base64_omitted(data: bytes) -> bytes:
    """Replace ``media.base64`` with ``"base64Omitted":"too_large"`` in both places."""
    if not may_have_base64(data):
        return data
    return _with_spans(data, [(each.start, each.end) for each in _all_base64(data)], _OMITTED)


def with_base64(data: bytes, base64: bytes) -> bytes | None:
    """Add ``media.base64`` to the JSON object ``data``.

    Args:
        data: the object.
        base64: the encoded file.

    Returns:
        None if there is no media object, or a ``base64`` in one already.
    """
    if next(_all_base64(data), None) is not None:
        return None
    for path in _MEDIA:
        # Of several members with the same name, JSON parsers use the last one.
        for media in reversed(list(_members(data, 0, path))):
            if data[media.value : media.value + 1] == b"{":
                start = _end(_whitespace, data, media.value + 1)
                comma = b"" if data[start : start + 1] == b"}" else b","
                return b'%b"base64":"%b"%b%b' % (data[:start], base64, comma, data[start:])
    return None


def may_have_base64(data: bytes) -> bool:
    """Could `data` contain ``media.base64``? A quick check that saves most events the scan."""
    # An escape can hide the name: "b\u0061se64" is the same key.
    return b"base64" in data or b"\\u" in data


class _Member(NamedTuple):
    """A member of an object, as positions in the text."""

    start: int
    value: int
    end: int
    # The end of the last member before it that is kept; None if there is none.
    kept_end: int | None
    # The start of the next member; None for the last one.
    next: int | None


def _all_base64(data: bytes) -> Iterator[_Member]:
    return (member for path in _PATHS for member in _members(data, 0, path))


def _members(data: bytes, start: int, path: tuple[str, ...]) -> Iterator[_Member]:
    """Yield the members at `path` in the object at `start`."""
    for member in _named(data, start, path[0]):
        if len(path) == 1:
            yield member
        elif data[member.value : member.value + 1] == b"{":
            yield from _members(data, member.value, path[1:])


def _cut(member: _Member) -> tuple[int, int]:
    """Return the span to remove, with one of the commas around the member."""
    if member.next is not None:
        # With the comma behind it; the last member with the comma before it.
        return member.start, member.next
    return member.start if member.kept_end is None else member.kept_end, member.end


def _named(data: bytes, start: int, name: str) -> Iterator[_Member]:
    """Yield the members `name` of the object at `start`, duplicates included."""
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
    """Match a run of members with another name and a flat value, commas included.

    Skipping them with one match bounds the time for an object of a million members.
    """
    key = rb'"(?!' + name.encode() + rb'")[^"\\]*+"'
    value = rb"(?:" + _STRING + rb"|" + _SCALAR + rb"|" + _FLAT + rb")"
    return re.compile(rb"(?:" + key + _WS + rb":" + _WS + value + _WS + rb"," + _WS + rb")*+")


def _end_before_comma(data: bytes, position: int) -> int:
    """Return the end of the member before the comma that precedes `position`."""
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
    """Replace each span of `data`; spans may overlap if `replacement` is empty."""
    if not spans:
        return data
    kept, position = [], 0
    for start, end in sorted(spans):
        kept.append(data[position:start])
        position = max(position, end)
    return replacement.join([*kept, data[position:]])
