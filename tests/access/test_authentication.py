"""Authentication: the token of a request, and the principal that it proves."""

from itertools import product

import pytest

from ryze.access.authentication import sent_token

_HEADER, _BEARER, _QUERY = "header", "bearer", "query"


@pytest.mark.parametrize(("header", "bearer", "query"), list(product([True, False], repeat=3)))
def test_token_header_precedes_bearer_and_bearer_precedes_query(
    header: bool, bearer: bool, query: bool
) -> None:
    headers = {
        "token": f" {_HEADER} " if header else " ",
        "authorization": f" Bearer  {_BEARER} " if bearer else "Basic x",
    }
    sent = sent_token(headers, f" {_QUERY} " if query else "\t")
    present = [(header, _HEADER), (bearer, _BEARER), (query, _QUERY)]
    assert sent == next((token for there, token in present if there), "")


def test_no_header_means_no_token() -> None:
    assert sent_token({}) == ""
