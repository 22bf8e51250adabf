"""Fixtures of hubs."""

import pytest
import trio

from ryze.hub.hub import Hub


@pytest.fixture
def hub() -> Hub:
    return Hub("http://ryze.test")


@pytest.fixture
async def flushing(hub: Hub, nursery: trio.Nursery) -> trio.Nursery:
    """The hub hands out what is published."""
    nursery.start_soon(hub.run)
    return nursery
