"""The views of WebSocket subscribers: one text frame per event, plain or deflated."""

from ryze.hub.view import Encoding, View
from ryze.websocket.server_frames import close_frame, deflated_text_frame, text_frame

__all__ = ["DEFLATED", "PLAIN"]

#: One text frame per event.
PLAIN = View(Encoding(text_frame, close_frame))

#: The same with permessage-deflate, for clients that have negotiated it (RFC 7692).
DEFLATED = View(Encoding(deflated_text_frame, close_frame))
