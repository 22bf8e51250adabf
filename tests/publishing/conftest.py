"""Fixtures of hubs."""

from tests.hub.conftest import flushing, hub

__all__ = ["flushing", "hub"]
