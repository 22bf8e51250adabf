"""What the end of a connection means, and how long to wait: no server needed."""

import pytest

from ryze import disconnects
from ryze.client import Ended, ListenRefused, Next, Pauses, what_next
from tests.client.harness import upper


@pytest.mark.parametrize(
    ("codes", "decision"),
    [
        ((1000,), Next.STOP),
        ((1001, 1005, 1006, 1011, 1013, 3000), Next.BACK_OFF),
        ((4000, 4008, 4009, 4499), Next.BACK_OFF),
        ((500, 502, 503, 504, 408), Next.BACK_OFF),
        ((1012,), Next.COME_BACK_SOON),
        ((429,), Next.COME_BACK_WHEN_TOLD),
        ((4500, 4501, 4504, 4999), Next.GIVE_UP),
        ((1002, 1003, 1007, 1008, 1009, 1010, 1015), Next.GIVE_UP),
        ((200, 301, 400, 401, 403, 404, 426), Next.GIVE_UP),
    ],
)
def test_what_a_code_means(codes: tuple[int, ...], decision: Next) -> None:
    assert {code: what_next(code) for code in codes} == dict.fromkeys(codes, decision)


def test_our_own_disconnects_mean_what_the_contract_says() -> None:
    come_back = {1001, 1011, 1012, 4008, 4009}
    stop = {1000, 1002, 1007, 1009, 4501, 4504}
    decisions = {each.code: what_next(each.code) for each in disconnects.ALL if each.code}
    over = {code for code, next_ in decisions.items() if next_ in (Next.STOP, Next.GIVE_UP)}
    assert stop <= over
    assert not come_back & over


def test_pauses_double_up_to_half_a_minute() -> None:
    pauses = Pauses(upper)
    waits = [pauses.after(Ended(1006)) for _ in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_pauses_have_full_jitter() -> None:
    asked: list[tuple[float, float]] = []

    def low(*bounds: float) -> float:
        asked.append((bounds[0], bounds[1]))
        return bounds[0]

    pauses = Pauses(low)
    assert [pauses.after(Ended(code)) for code in (1001, 503, 1012)] == [0, 0, 0]
    assert asked == [(0, 0.5), (0, 1), (0, 2)]


def test_a_good_connection_makes_the_pauses_short_again() -> None:
    pauses = Pauses(upper)
    waits = [pauses.after(Ended(1006, lasted_seconds=lasted)) for lasted in (0, 9, 10, 0)]
    assert waits == [0.5, 1, 0.5, 1]


def test_the_server_says_when_to_come_back() -> None:
    pauses = Pauses(upper)
    assert pauses.after(Ended(429, retry_after=17)) == 17
    assert pauses.after(Ended(429)) == 0.5


def test_the_ordinary_end_has_no_pause() -> None:
    assert Pauses().after(Ended(1000)) is None


def test_a_refusal_is_an_error_in_one_line() -> None:
    with pytest.raises(ListenRefused, match=r"^Invalid token \(HTTP 401\)$") as caught:
        Pauses().after(Ended(401, "Invalid token"))
    assert caught.value.ended.code == 401


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (Ended(1006), "connection lost"),
        (Ended(1006, "cannot reach it"), "cannot reach it"),
        (Ended(1015, "the certificate"), "the certificate"),
        (Ended(4008, "slow consumer"), "slow consumer (close code 4008)"),
        (Ended(599), "HTTP 599"),
    ],
)
def test_ends_are_told_in_words(ended: Ended, text: str) -> None:
    assert str(ended) == text
