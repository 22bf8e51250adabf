import random

from tests.soak.trend import trend_of


def test_steady_growth_is_not_flat() -> None:
    trend = trend_of([(second, 100 + second) for second in range(100)])
    assert trend.growth == 49
    assert not trend.is_flat(0.1, 10)
    assert trend.is_flat(0.5, 10)
    assert trend.is_flat(0.1, 50)


def test_growth_in_the_first_half_is_ignored() -> None:
    assert trend_of([(second, min(second, 50)) for second in range(101)]).growth == 0


def test_noise_and_outliers_do_not_change_the_trend() -> None:
    rng = random.Random(1)
    noisy = [(second, 100 + rng.uniform(-5, 5)) for second in range(1000)]
    noisy[900] = (900, 10_000)
    trend = trend_of(noisy)
    assert abs(trend.growth) < 1
    assert 98 < trend.level < 102


def test_single_sample_has_no_growth() -> None:
    assert trend_of([(0, 5)]).growth == 0
