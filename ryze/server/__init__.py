"""The port: from an accepted connection to HTTP or WebSocket.

listeners               open the port
acceptor                accept connections while file descriptors last
tls                     TLS context and handshake
dispatcher              the first bytes decide: upgrade request, or HTTP
refusal                 an error response instead of a connection or a 101
http_connections        the open HTTP connections: their cap, and the eviction of idle ones
hypercorn_connection    one HTTP connection, on Hypercorn's protocol
hypercorn_protocol      that protocol, with a way out for upgrade requests
trusted_proxies         the client's address and scheme behind reverse proxies
transports              the bytes of a WebSocket: a plain socket, or TLS
"""

__all__: list[str] = []
