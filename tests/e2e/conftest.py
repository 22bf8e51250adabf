from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Server, StartServer, running_servers

__all__ = ["StartServer"]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers on one data directory; see `running_servers`."""
    with running_servers(tmp_path) as start:
        yield start


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server on an empty data directory, without rate limits."""
    return start_server(global_rate_limit="", create_rate_limit="")
