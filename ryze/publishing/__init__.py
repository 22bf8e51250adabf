"""Publishing: the one way from an accepted event to its subscribers.

publisher   takes events from every ingress, and hands them to the hub

Every ingress (HTTP, NDJSON, forms, the producer socket) ends at `publisher.Publisher`, and nothing
else publishes to the hub.
"""

__all__: list[str] = []
