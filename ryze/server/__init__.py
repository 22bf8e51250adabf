"""The port: accept, TLS, first bytes, hand-over to HTTP or WebSocket."""

__all__: list[str] = []
