"""Surrogates are masked and restored, and nothing else is changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.events.surrogates import mask_surrogates


@pytest.mark.parametrize(
    "body", [b"", b"\\u0041", b"ud83d", b"\\ud83", b"\\ud7ff", b"\\ue000", b"d83d"]
)
def test_document_without_surrogates_is_not_masked(body: bytes) -> None:
    assert mask_surrogates(body) is None


@given(
    st.lists(st.sampled_from([b"\\", b"\\ud83d", b"\\uDFfF", b"/", b"~", b"/~", b"^", b"u", b"x"]))
)
def test_restoring_gives_back_every_byte(parts: list[bytes]) -> None:
    body = b"".join(parts)
    masked = mask_surrogates(body)
    assert (masked is None) == (b"\\ud83d" not in body and b"\\uDFfF" not in body)
    if masked is not None:
        assert mask_surrogates(masked.body) is None
        assert len(masked.body) == len(body)
        assert masked.mark not in body
        assert masked.restore(masked.body) == body


def test_document_that_contains_every_mark_is_not_masked() -> None:
    marks = b"/~ /^ /` /| /< /@ /$ /!"
    assert mask_surrogates(rb"\ud83d " + marks[:-1]) is not None
    assert mask_surrogates(rb"\ud83d " + marks) is None
