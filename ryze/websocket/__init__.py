"""WebSockets (RFC 6455): from the handshake to the closing handshake.

handshake         checks of an upgrade request; the 101
extensions        negotiation of permessage-deflate (RFC 7692)
server            all open WebSockets: accept, serve, drain
connection        the life of one: reader, writer, heartbeat, closing handshake
subscriber        receives the events of its instance
producer          every text frame is an event
frame_validator   frames of a subscriber: validated and discarded
message_reader    frames of a producer: assembled to messages
client_frames     the rules that both readers keep
server_frames     frames that the server sends
views             views for the hub: plain or deflated text frames
"""

__all__: list[str] = []
