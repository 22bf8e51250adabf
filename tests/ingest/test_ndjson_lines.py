"""Lines of a body do not depend on how its bytes are split."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ryze.ingest.ndjson_lines import Line, LineReader, LineTooLong

LIMIT = 5

bodies = st.lists(
    st.sampled_from([b"a", b"\xc3\xa9", b" ", b"\r", b"\n", b"\r\n", b"abcde", b"\t\x0b"])
).map(b"".join)


def read(chunks: list[bytes]) -> tuple[list[Line], int | None]:
    """Return the lines, and the number of the line that is too long."""
    reader, lines = LineReader(LIMIT), []
    try:
        for chunk in chunks:
            lines += reader.receive_data(chunk)
            # The memory for an incomplete line is bounded.
            assert len(reader._partial) <= LIMIT + 1
        lines += reader.end()
    except LineTooLong as error:
        return lines, error.number
    return lines, None


def expected(body: bytes) -> tuple[list[Line], int | None]:
    lines = []
    for number, raw in enumerate(body.split(b"\n"), 1):
        text = raw.removesuffix(b"\r")
        if len(text) > LIMIT:
            return lines, number
        if text.strip():
            lines.append(Line(number, text))
    return lines, None


@given(bodies, st.lists(st.integers(0, 40)))
@example(b"abcde\r\nabcde\r", [6])
@example(b"abcde\rx\n", [6])
def test_any_split_gives_the_same_lines(body: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[a:b] for a, b in pairwise(places)]
    assert read(chunks) == expected(body)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_limit_applies_to_the_line_without_its_end(end: bytes) -> None:
    assert read([b"\n12345" + end]) == ([Line(2, b"12345")], None)
    assert read([b"\n123456" + end]) == ([], 2)


def test_line_without_end_is_refused_as_soon_as_it_is_too_long() -> None:
    reader = LineReader(LIMIT)
    assert list(reader.receive_data(b"1\n12345")) == [Line(1, b"1")]
    with pytest.raises(LineTooLong, match="line 2 is too long"):
        list(reader.receive_data(b"6"))


def test_blank_lines_are_counted() -> None:
    reader = LineReader(LIMIT)
    assert list(reader.receive_data(b"\n \r\n12")) == []
    assert reader.count == 2
    assert list(reader.end()) == [Line(3, b"12")]
