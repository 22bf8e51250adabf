"""Counting values per bucket."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.telemetry.histogram import Histogram


@pytest.mark.parametrize(
    ("value", "counts"),
    [(-1, [1, 1, 1]), (1, [1, 1, 1]), (1.5, [0, 1, 1]), (2, [0, 1, 1]), (2.1, [0, 0, 1])],
)
def test_value_is_counted_under_each_bound_that_is_not_below_it(
    value: float, counts: list[int]
) -> None:
    values = Histogram((1, 2))
    values.observe(value)
    assert list(values.cumulative()) == list(zip((1, 2, inf), counts, strict=True))
    assert values.total == value


@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20), unique=True).map(sorted))
def test_cumulative_counts_are_exact(observed: list[int], bounds: list[int]) -> None:
    values = Histogram(bounds)
    for value in observed:
        values.observe(value)
    for bound, count in values.cumulative():
        assert count == sum(value <= bound for value in observed)
    assert values.total == sum(observed)
    assert repr(values) == f"<Histogram of {len(observed)} values, sum {sum(observed)}>"
