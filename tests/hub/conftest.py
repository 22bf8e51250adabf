"""A hub that does not flush."""

import pytest

from ryze.hub.hub import Hub


@pytest.fixture
def idle_hub() -> Hub:
    """A hub whose flush task has not been started; `hub` is one with its flush task running."""
    return Hub("http://ryze.test")
