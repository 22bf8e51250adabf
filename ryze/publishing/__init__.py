"""Publishing: the one way from an accepted event to everybody who gets it.

Every way in (HTTP, NDJSON, forms, the producer socket) ends at `publisher.Publisher`, and nothing
else reaches the hub.
"""

__all__: list[str] = []
