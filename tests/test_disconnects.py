"""The close codes: what the contract's table says, no more and no less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze import disconnects
from ryze.disconnects import ALL, CUT_OFF, GONE, Disconnect, bad_frame

# Code, reason as in the contract (None: free), may the client come back.
CONTRACT = {
    1000: "",
    1001: "shutting down",
    1002: None,
    1007: None,
    1009: None,
    1011: "internal error",
    1012: "restarting",
    4008: "slow consumer",
    4009: "no heartbeat",
    4501: "token revoked",
    4504: "instance deleted",
}


def test_codes_are_unique_and_those_of_the_contract() -> None:
    codes = [why.code for why in ALL if why.code is not None]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(CONTRACT)


@pytest.mark.parametrize("why", ALL)
def test_the_reason_is_that_of_the_contract_and_fits_a_control_frame(why: Disconnect) -> None:
    assert len(why.reason.encode()) <= 123
    if why.code is not None and CONTRACT[why.code] is not None:
        assert why.reason == CONTRACT[why.code]


def test_only_a_shutdown_drains() -> None:
    assert {why.code for why in ALL if why.drains} == {1001, 1012}


def test_only_where_nothing_can_be_sent_there_is_no_code() -> None:
    assert [why for why in ALL if why.code is None] == [GONE, CUT_OFF]


def test_each_has_a_title_of_its_own_and_bad_frames_share_one() -> None:
    titles = [why.title for why in ALL]
    assert all(titles)
    assert len(set(titles)) == len(titles)
    assert bad_frame(1, "no").title == bad_frame(2, "never").title == "bad frame"
    assert "bad frame" not in titles


def test_all_are_listed() -> None:
    values = {value for value in vars(disconnects).values() if isinstance(value, Disconnect)}
    assert values == set(ALL)


@given(st.integers(1, 10**12), st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_the_reason_for_a_bad_frame_always_fits(number: int, fault: str) -> None:
    why = bad_frame(number, fault)
    assert why.code == 1008
    assert len(why.reason.encode()) <= 123
    assert f"frame {number}: {fault}".startswith(why.reason)
