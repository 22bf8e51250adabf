import pytest
import trio

from ryze.hub.hub import Hub


@pytest.fixture
def hub(nursery: trio.Nursery) -> Hub:
    """A hub that hands out what is published."""
    hub = Hub("http://ryze.test")
    nursery.start_soon(hub.run)
    return hub
