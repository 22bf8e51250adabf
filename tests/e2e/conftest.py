from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from .harness import Server

StartServer = Callable[..., Server]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers, by default on one data directory; at the end none has logged a token."""
    servers: list[Server] = []
    runs = count(1)

    def start(**settings: object) -> Server:
        run_dir = tmp_path / f"run-{next(runs)}"
        run_dir.mkdir()
        servers.append(Server(tmp_path / "data", run_dir, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.end()
    secrets = set[str]().union(*(server.secrets for server in servers))
    for server in servers:
        assert not [token for token in secrets if token in server.log], "a token in the log"
        assert "Traceback" not in server.log, server.log


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A fresh server on an empty data directory, without limits of requests."""
    return start_server(global_rate_limit="", create_rate_limit="")
