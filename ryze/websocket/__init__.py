"""The heart: who is connected, and how bytes reach them.

gateway      all WebSockets of the server: admission, drain
handshake    an upgrade request, and its two answers
extensions   what a client offers there, and what is agreed on
connection   the life of a WebSocket: reader, writer, heartbeat, farewell
subscriber   a client's: the hub's events go to it
scanner      a client's frames, checked and forgotten
publisher    a producer's: every frame is an event
incoming     a producer's frames, read by the chunk
client_frames  what both may send
hub          instance -> outboxes; publish; the flush
outbox       one client's 256 slots
frames       an event encoded once into server frames
transport    the bytes below
disconnects  why a WebSocket ends, as values
"""

__all__: list[str] = []
