"""A few seconds of the soak, as ``nox -s soak`` does it for minutes."""

import pytest
import trio

from tests.soak.server import running
from tests.soak.soak import Cast, Result, Soak

SECONDS = 5
CAST = Cast(instances=2, residents=4, visitors=3, sleepers=1, guests=1, vandals=1)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    with running(tmp_path_factory.mktemp("soak")) as server:
        return trio.run(Soak(server, CAST, 1, print).run, SECONDS)


def test_nothing_goes_wrong(result: Result) -> None:
    assert result.faults == []
    assert result.is_well
    assert result.exit_code == 0


def test_it_has_had_something_to_do(result: Result) -> None:
    assert result.frames > 0
    for what in ("bad inputs", "configurations changed", "connections"):
        assert result.done[what] > 0, what
