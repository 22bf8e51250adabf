"""Catalogue of close codes: exactly the contract's table."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze import disconnects
from ryze.disconnects import (
    ALL,
    CANCELLED,
    CONNECTION_LOST,
    INVALID_EVENT,
    Disconnect,
    ReconnectDecision,
    invalid_event,
)

# Per code of the contract: its reason (None: not prescribed) and advice.
CONTRACT = {
    1000: ("", "Nothing: this confirms its own close."),
    1001: ("shutting down", "Reconnect with backoff."),
    1002: (None, "Fix the client; do not retry."),
    1007: (None, "Fix the client; do not retry."),
    1008: (None, "Fix the client; do not retry."),
    1009: (None, "Fix the client; do not retry."),
    1011: ("internal error", "Reconnect with backoff."),
    1012: ("restarting", "Reconnect after a short random wait."),
    4008: ("slow consumer", "Reconnect, and read faster."),
    4009: ("no heartbeat", "Reconnect."),
    4501: ("token revoked", "Stop."),
    4504: ("instance deleted", "Stop."),
}

RECONNECTING = {ReconnectDecision.BACK_OFF, ReconnectDecision.RECONNECT_SOON}


def test_codes_are_unique_and_match_the_contract() -> None:
    codes = [each.code for each in ALL if each.code is not None]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(CONTRACT)


@pytest.mark.parametrize("disconnect", ALL)
def test_reason_and_advice_match_the_contract(disconnect: Disconnect) -> None:
    assert len(disconnect.reason.encode()) <= 123
    if disconnect.code is not None:
        reason, advice = CONTRACT[disconnect.code]
        assert reason in (None, disconnect.reason)
        assert disconnect.advice.sentence == advice


def test_codes_from_4500_mean_stop_and_codes_from_4000_mean_reconnect() -> None:
    for each in ALL:
        if each.code is not None and each.code >= 4000:
            reconnects = each.advice.decision in RECONNECTING
            assert reconnects == (each.code < 4500)


@pytest.mark.parametrize("disconnect", ALL)
def test_sentence_and_decision_agree(disconnect: Disconnect) -> None:
    advice = disconnect.advice
    assert advice.sentence.startswith("Reconnect") == (advice.decision in RECONNECTING)


def test_only_a_shutdown_drains() -> None:
    assert {each.code for each in ALL if each.sends_pending} == {1001, 1012}


def test_only_ends_without_a_close_frame_have_no_code() -> None:
    assert [each for each in ALL if each.code is None] == [CONNECTION_LOST, CANCELLED]


def test_metric_labels_are_unique_snake_case() -> None:
    labels = [each.metric_label for each in ALL]
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", label) for label in labels)


def test_invalid_events_share_one_metric_label() -> None:
    ends = [INVALID_EVENT, invalid_event(1, "no"), invalid_event(2, "never")]
    assert {each.metric_label for each in ends} == {"invalid_event"}


def test_all_are_listed() -> None:
    values = {value for value in vars(disconnects).values() if isinstance(value, Disconnect)}
    assert values == set(ALL)


@given(st.integers(1, 10**12), st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_reason_of_an_invalid_event_fits_a_control_frame(number: int, fault: str) -> None:
    disconnect = invalid_event(number, fault)
    assert disconnect.code == 1008
    assert len(disconnect.reason.encode()) <= 123
    assert f"frame {number}: {fault}".startswith(disconnect.reason)
