"""Plans for demos of any duration."""

from ryze.playground.demo.environment import Plan


def test_pauses_scale_with_a_short_duration() -> None:
    assert Plan.for_duration(60) == Plan()
    assert Plan.for_duration(600).second_pause_seconds == Plan().second_pause_seconds
    assert Plan.for_duration(10).first_pause_seconds == 1
