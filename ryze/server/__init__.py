"""The port: accept, TLS, dispatch to WebSocket or HTTP, refusals, reverse proxies.

acceptor -> dispatcher -> hypercorn_connection (HTTP) or ryze.websocket.
"""

__all__: list[str] = []
