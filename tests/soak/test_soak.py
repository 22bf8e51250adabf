"""A few seconds of the soak; ``nox -s soak`` runs it for minutes."""

import pytest
import trio

from tests.soak.server import running_server
from tests.soak.soak import Parameters, Result, Soak

SECONDS = 5
PARAMETERS = Parameters(
    instances=2, stable=4, churning=3, slow=1, temporary_instances=1, bad_clients=1
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    with running_server(tmp_path_factory.mktemp("soak")) as server:
        return trio.run(Soak(server, PARAMETERS, 1, print).run, SECONDS)


def test_no_violations(result: Result) -> None:
    assert result.violations == []
    assert result.has_passed
    assert result.exit_code == 0


def test_load_was_generated(result: Result) -> None:
    assert result.frames > 0
    for name in ("bad inputs", "configurations changed", "connections"):
        assert result.counts[name] > 0, name
