"""Surrogates are hidden and shown again, and nothing else is touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.events.surrogates import hide


@pytest.mark.parametrize(
    "body", [b"", b"\\u0041", b"ud83d", b"\\ud83", b"\\ud7ff", b"\\ue000", b"d83d"]
)
def test_what_has_none_is_left_alone(body: bytes) -> None:
    assert hide(body) is None


@given(
    st.lists(st.sampled_from([b"\\", b"\\ud83d", b"\\uDFfF", b"/", b"~", b"/~", b"^", b"u", b"x"]))
)
def test_what_was_hidden_is_shown_again(parts: list[bytes]) -> None:
    body = b"".join(parts)
    hidden = hide(body)
    assert (hidden is None) == (b"\\ud83d" not in body and b"\\uDFfF" not in body)
    if hidden is not None:
        assert hide(hidden.body) is None
        assert len(hidden.body) == len(body)
        assert hidden.mark not in body
        assert hidden.show(hidden.body) == body


def test_a_document_that_has_every_mark_is_left_alone() -> None:
    marks = b"/~ /^ /` /| /< /@ /$ /!"
    assert hide(rb"\ud83d " + marks[:-1]) is not None
    assert hide(rb"\ud83d " + marks) is None
