"""The log of the server as text."""

import io

import pytest

from ryze.telemetry.logging import configure_logging
from tests.conftest import Server


@pytest.fixture
def output(server: Server, restore_logging: None) -> io.StringIO:
    """The log of the server from now on, at debug level; `logs` stays empty."""
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    return stream
