"""Negotiation of extensions: accepted, declined and invalid offers (RFC 6455, RFC 7692)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.websocket.extensions import Offer, agree, parse_offers

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate", ""),
        ("permessage-deflate; client_max_window_bits", ""),
        ('permessage-deflate;client_max_window_bits="12"', ""),
        ("permessage-deflate ; client_max_window_bits\t=\t8", ""),
        (r'permessage-deflate; client_max_window_bits="1\2"', ""),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", ""),
        ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=15"),
        ('permessage-deflate; server_max_window_bits="15"', "; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", ""),
        ("permessage-deflate; unknown, permessage-deflate", ""),
        ("x-webkit-deflate-frame, permessage-deflate", ""),
        ('x-other; list="a", , permessage-deflate,', ""),
    ],
)
def test_acceptable_offers_are_accepted(offer: str, agreed: str) -> None:
    assert agree(parse_offers(offer)) == AGREED + agreed


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-webkit-deflate-frame",
        "Permessage-Deflate",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=ten",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; unknown",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=15",
        ", ,",
    ],
)
def test_unacceptable_offers_are_declined(offer: str) -> None:
    assert agree(parse_offers(offer)) is None


@pytest.mark.parametrize(
    "offer",
    [
        ";",
        "; permessage-deflate",
        "permessage-deflate;",
        "permessage-deflate; ;",
        "permessage-deflate=1",
        "permessage-deflate; client_max_window_bits=",
        'permessage-deflate; client_max_window_bits="12',
        'permessage-deflate; client_max_window_bits=""',
        'permessage-deflate; client_max_window_bits="1 2"',
        "permessage-deflate client_max_window_bits",
        'x-other; list="a, permessage-deflate, b"',
        "perm\u00e9",
    ],
)
def test_invalid_grammar_raises(offer: str) -> None:
    with pytest.raises(ValueError, match="not a list"):
        parse_offers(offer)


def test_offer_has_name_and_parameters() -> None:
    assert parse_offers(r'a;b , ,c; d=e; f="\g\h"; i') == [
        Offer("a", [("b", None)]),
        Offer("c", [("d", "e"), ("f", "gh"), ("i", None)]),
    ]


_tokens = st.text(st.sampled_from("ab1-_~!"), min_size=1, max_size=5)
_parameters = st.lists(st.tuples(_tokens, st.one_of(st.none(), _tokens)), max_size=3)


@given(st.lists(st.builds(Offer, _tokens, _parameters), max_size=4), st.booleans())
def test_parsing_inverts_formatting(offers: list[Offer], quoted: bool) -> None:
    mark = '"' if quoted else ""
    written = [
        "; ".join([name, *(f"{k}={mark}{v}{mark}" if v else k for k, v in parameters)])
        for name, parameters in offers
    ]
    assert parse_offers(" , ".join(written)) == offers


@given(st.text(st.sampled_from('pd;=, "\\\t\u00e9'), max_size=30))
def test_any_text_is_parsed_or_raises_value_error(text: str) -> None:
    with suppress(ValueError):
        assert agree(parse_offers(text)) is None
