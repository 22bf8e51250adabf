"""Masking: every form in which a secret is logged or shown."""

import string
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.masking import (
    MASK,
    mask,
    mask_fields,
    mask_query,
    mask_text,
    mask_url_password,
    may_contain_secret,
)

# Characters of a header, and so of a token. Long, so that it occurs in no output by chance.
PRINTABLE = "".join(sorted(set(string.printable) - set(string.whitespace)))
TOKENS = st.text(PRINTABLE, min_size=12, max_size=40).filter(lambda token: set(token) - {"*"})


@pytest.mark.parametrize(("secret", "masked"), [("secret", "***"), ("", "")])
def test_secret_is_masked_and_empty_text_stays(secret: str, masked: str) -> None:
    assert mask(secret) == masked


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://ryze:secret@db/ryze", "postgresql://ryze:***@db/ryze"),
        ("postgresql://ryze:se@c/r:e@t@db/ryze", "postgresql://ryze:***@db/ryze"),
        ("postgresql://ryze:sec\nret@db/ryze", "postgresql://ryze:***@db/ryze"),
        ("postgresql://:secret@db/ryze", "postgresql://:***@db/ryze"),
        ("postgresql://ryze@db/ryze", "postgresql://ryze@db/ryze"),
        ("postgresql:///x?user=u&PGPassword=s&a=b", "postgresql:///x?user=u&PGPassword=***&a=b"),
        ("ryze:secret@db", "ryze:***@db"),
        ("sqlite:///ryze.db", "sqlite:///ryze.db"),
        ("", ""),
    ],
)
def test_password_of_a_url_is_masked(url: str, masked: str) -> None:
    assert mask_url_password(url) == masked


@pytest.mark.parametrize(
    ("target", "masked"),
    [
        ("/ws/a", "/ws/a"),
        ("/ws/a?", "/ws/a?"),
        ("/ws/a?token", "/ws/a?token"),
        ("/ws/a?token=s", "/ws/a?token=***"),
        ("/ws/a?b=1&token=s&c=2&token=t", "/ws/a?b=1&token=***&c=2&token=***"),
        ("/ws/a?Token=s", "/ws/a?Token=***"),
        ("/ws/a?%74oken=s", "/ws/a?%74oken=***"),
        ("/ws/a?token=s?token=t#f", "/ws/a?token=***"),
        ("/ws/a?next=%2Fws%3Ftoken%3Ds", "/ws/a?next=***"),
    ],
)
def test_tokens_in_a_request_target_are_masked(target: str, masked: str) -> None:
    assert mask_query(target) == masked


@given(TOKENS)
def test_token_in_a_query_is_masked_encoded_or_raw(token: str) -> None:
    raw = token.replace("&", "")
    for sent in (quote(token, safe=""), raw):
        target = f"/ws/a?b=1&token={sent}"
        assert mask_query(target) == mask_text(target) == "/ws/a?b=1&token=***" or not sent


@pytest.mark.parametrize("key", ["token", "Token", "instance_token", "Authorization"])
@pytest.mark.parametrize("value", ["secret", b"secret", {"deep": "secret"}, ["secret"]])
def test_value_under_a_secret_name_is_masked_at_any_depth(key: str, value: Any) -> None:
    fields = {key: value, "list": [{key: value}], "tuple": ({"deep": {key: value}},)}
    assert mask_fields(fields) == {
        key: MASK,
        "list": [{key: MASK}],
        "tuple": [{"deep": {key: MASK}}],
    }


def test_fields_without_secrets_keep_their_values() -> None:
    fields = {"text": "GET /api?instanceName=a,b", "n": 1, "f": 0.5, "none": None, "ok": True}
    assert mask_fields(fields) == fields


def test_other_objects_become_their_masked_repr() -> None:
    assert mask_fields({"error": ValueError("token=secret")}) == {"error": "ValueError('token=***"}


@given(st.text() | TOKENS.map("token: {}".format) | TOKENS.map("Bearer {}".format))
def test_text_that_passes_the_quick_check_is_not_changed_by_masking(text: str) -> None:
    assert may_contain_secret(text) or mask_text(text) == text
