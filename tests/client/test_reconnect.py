"""Reconnect policy: decisions and pauses, without a server."""

import pytest

from ryze import disconnects
from ryze.client import Backoff, ConnectionOutcome, ListenRefused, decide_reconnect
from ryze.disconnects import ReconnectDecision
from tests.client.harness import upper_bound


@pytest.mark.parametrize(
    ("codes", "decision"),
    [
        ((1000,), ReconnectDecision.STOP),
        ((1001, 1005, 1006, 1011, 1013, 3000), ReconnectDecision.BACK_OFF),
        ((4000, 4008, 4009, 4499), ReconnectDecision.BACK_OFF),
        ((500, 502, 503, 504, 408, 425, 429), ReconnectDecision.BACK_OFF),
        ((1012,), ReconnectDecision.RECONNECT_SOON),
        ((4500, 4501, 4504, 4999), ReconnectDecision.GIVE_UP),
        ((1002, 1003, 1007, 1008, 1009, 1010, 1015), ReconnectDecision.GIVE_UP),
        ((200, 301, 400, 401, 403, 404, 426), ReconnectDecision.GIVE_UP),
    ],
)
def test_decision_per_code(codes: tuple[int, ...], decision: ReconnectDecision) -> None:
    assert {code: decide_reconnect(code) for code in codes} == dict.fromkeys(codes, decision)


@pytest.mark.parametrize("disconnect", disconnects.ALL)
def test_our_close_codes_follow_the_catalogue(disconnect: disconnects.Disconnect) -> None:
    if disconnect.code is not None:
        assert decide_reconnect(disconnect.code) is disconnect.advice.decision


def test_pauses_double_up_to_30_seconds() -> None:
    backoff = Backoff(upper_bound)
    pauses = [backoff.pause_after(ConnectionOutcome(1006)) for _ in range(9)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_pauses_have_full_jitter() -> None:
    asked: list[tuple[float, float]] = []

    def low(*bounds: float) -> float:
        asked.append((bounds[0], bounds[1]))
        return bounds[0]

    backoff = Backoff(low)
    pauses = [backoff.pause_after(ConnectionOutcome(code)) for code in (1001, 503, 1012)]
    assert pauses == [0, 0, 0]
    assert asked == [(0, 0.5), (0, 1), (0, 2)]


def test_backoff_starts_anew_after_a_connection_of_10_seconds() -> None:
    backoff = Backoff(upper_bound)
    pauses = [
        backoff.pause_after(ConnectionOutcome(1006, lasted_seconds=lasted))
        for lasted in (0, 9, 10, 0)
    ]
    assert pauses == [0.5, 1, 0.5, 1]


def test_retry_after_of_a_429_is_the_pause() -> None:
    backoff = Backoff(upper_bound)
    assert backoff.pause_after(ConnectionOutcome(429, retry_after=17)) == 17
    assert backoff.pause_after(ConnectionOutcome(429, retry_after=0)) == 0
    assert backoff.pause_after(ConnectionOutcome(429)) == 0.5
    assert backoff.pause_after(ConnectionOutcome(503, retry_after=17)) == 1


def test_regular_end_has_no_pause() -> None:
    assert Backoff().pause_after(ConnectionOutcome(1000)) is None


def test_refusal_raises_a_one_line_error() -> None:
    with pytest.raises(ListenRefused, match=r"^Invalid token \(HTTP 401\)$") as caught:
        Backoff().pause_after(ConnectionOutcome(401, "Invalid token"))
    assert caught.value.outcome.code == 401


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (ConnectionOutcome(1006), "connection lost"),
        (ConnectionOutcome(1006, "cannot connect"), "cannot connect"),
        (ConnectionOutcome(1015, "bad certificate"), "bad certificate"),
        (ConnectionOutcome(4008, "slow consumer"), "slow consumer (close code 4008)"),
        (ConnectionOutcome(599), "HTTP 599"),
    ],
)
def test_outcomes_read_as_text(outcome: ConnectionOutcome, text: str) -> None:
    assert str(outcome) == text
