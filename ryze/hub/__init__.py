"""The hub: who listens on this node, and how an event reaches them."""

__all__: list[str] = []
