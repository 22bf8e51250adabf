"""A hub that does not flush."""

from tests.hub.conftest import idle_hub

__all__ = ["idle_hub"]
