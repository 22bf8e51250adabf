"""Hypothesis strategies."""

import json
from typing import Any

from hypothesis import strategies as st

from ryze.disconnects import ALL, Disconnect
from ryze.events.event import EVENT_TYPES

__all__ = [
    "chat_objects",
    "disconnects",
    "event_types",
    "frame_sizes",
    "json_objects",
    "json_texts",
    "media_objects",
]

event_types = st.sampled_from(EVENT_TYPES)

# Payload sizes around each boundary of the frame length encoding, small ones more often.
frame_sizes = st.one_of(
    st.integers(0, 40),
    st.integers(0, 300),
    st.sampled_from([0, 1, 125, 126, 65535, 65536, 70000]),
)

disconnects: st.SearchStrategy[Disconnect] = st.sampled_from(ALL)

_names = st.one_of(
    st.sampled_from(["media", "message", "base64", "bas\u00e964", "", '"', "\\", "{", "a"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["base64", '{"base64":1}', "]}", '\\"', "\\", "\u2028"]),
)


class Members(tuple[tuple[str, Any], ...]):
    """A JSON object as its members in order; names may repeat."""


def _containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(children, max_size=4), _objects(children))


def _objects(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Members]:
    return st.lists(st.tuples(_names, children), max_size=5).map(Members)


json_objects = _objects(st.recursive(_leaves, _containers, max_leaves=12))


def _with(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Members]:
    """Objects that are likely to have members called `name`, also more than one."""
    members = st.one_of(st.tuples(_names, _leaves), st.tuples(st.just(name), values))
    return st.lists(members, max_size=5).map(Members)


_media = st.one_of(_with("base64", st.one_of(_leaves, json_objects)), _leaves)
_message = st.one_of(_with("media", _media), _leaves)

# Objects similar to events with `media.base64`.
media_objects = st.lists(
    st.one_of(
        st.tuples(st.just("message"), _message),
        st.tuples(st.just("media"), _media),
        st.tuples(_names, _leaves),
    ),
    max_size=5,
).map(Members)

_jids = st.one_of(st.sampled_from(["1@g.us", "status@broadcast", "1@s.whatsapp.net"]), _leaves)
_chat = st.one_of(_with("jid", _jids), _leaves)

# Objects similar to events that name their chat.
chat_objects = st.lists(
    st.one_of(
        st.tuples(st.just("chat"), _chat),
        st.tuples(st.just("message"), st.one_of(_with("chat", _chat), _leaves)),
        st.tuples(_names, _leaves),
    ),
    max_size=5,
).map(Members)


@st.composite
def json_texts(draw: st.DrawFn, values: st.SearchStrategy[Any] = media_objects) -> bytes:
    """JSON text of a value, with white space and escapes wherever JSON allows them."""
    return _text(draw, draw(values)).encode()


def _text(draw: st.DrawFn, value: Any) -> str:
    space = st.sampled_from(["", "", "", " ", "\n\t", "\r "])
    if isinstance(value, Members):
        members = [
            f"{draw(space)}{_string(draw, name)}{draw(space)}:{draw(space)}"
            f"{_text(draw, member)}{draw(space)}"
            for name, member in value
        ]
        return "{" + (",".join(members) or draw(space)) + "}"
    if isinstance(value, list):
        items = [f"{draw(space)}{_text(draw, item)}{draw(space)}" for item in value]
        return "[" + (",".join(items) or draw(space)) + "]"
    return _string(draw, value) if isinstance(value, str) else json.dumps(value)


def _string(draw: st.DrawFn, value: str) -> str:
    """A string literal with some characters escaped without need."""
    escaped = draw(st.sets(st.integers(0, max(0, len(value) - 1)), max_size=3))
    return '"' + "".join(_character(c, i in escaped) for i, c in enumerate(value)) + '"'


def _character(character: str, escaped: bool) -> str:
    if escaped:
        units = character.encode("utf-16-be")
        return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
    return json.dumps(character, ensure_ascii=False)[1:-1]
