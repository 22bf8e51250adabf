from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import StartServer, running_servers


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers in processes of their own; see `running_servers`."""
    with running_servers(tmp_path) as start:
        yield start
