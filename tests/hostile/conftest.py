from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import StartServer, servers_in


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers as processes of their own; see `servers_in`."""
    with servers_in(tmp_path) as start:
        yield start
