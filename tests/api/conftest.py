"""What the server writes, as text."""

import io

import pytest

from ryze.telemetry.logging import configure_logging
from tests.conftest import Server


@pytest.fixture
def output(server: Server, restore_logging: None) -> io.StringIO:
    """What the server writes to its log from now on, at debug level; `logs` stays empty."""
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    return stream
