from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Server, StartServer, servers_in

__all__ = ["StartServer"]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """See `servers_in`."""
    with servers_in(tmp_path) as start:
        yield start


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A fresh server on an empty data directory, without limits of requests."""
    return start_server(global_rate_limit="", create_rate_limit="")
