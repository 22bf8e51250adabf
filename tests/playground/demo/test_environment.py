"""The plan of a demo of any length."""

from ryze.playground.demo import Plan


def test_a_short_demo_makes_haste() -> None:
    assert Plan.of(60) == Plan()
    assert Plan.of(600).sleep_seconds == Plan().sleep_seconds
    assert Plan.of(10).nod_seconds == 1
