"""A client's WebSocket: it gets the events of its instance, and has little to say itself.

wsproto reads what it sends: pings are answered, messages are measured and ignored, and the first
invalid byte ends the connection.
"""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager

from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason

from ryze.gateway import disconnects
from ryze.gateway.connection import Connection, ConnectionLimits
from ryze.gateway.disconnects import Disconnect
from ryze.gateway.hub import Hub
from ryze.gateway.transport import Transport
from ryze.records import Instance

__all__ = ["Subscriber"]


class Subscriber(Connection):
    """One client of one instance, after its handshake was accepted.

    Args:
        transport: takes and gives the bytes; the caller closes it.
        limits: see there.
        extensions: what was negotiated; permessage-deflate or nothing.
        draw: a random number from 0 to 1, for the moment of the first ping.
    """

    __slots__ = ("_message_bytes", "_protocol")

    role = "subscriber"

    def __init__(
        self,
        transport: Transport,
        limits: ConnectionLimits,
        *,
        extensions: list[Extension],
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(transport, limits, compressed=bool(extensions), draw=draw)
        # The peer's frames.
        self._protocol = Protocol(ConnectionType.SERVER, extensions)
        # Size so far of the client's message that is coming in.
        self._message_bytes = 0

    def _attached(self, hub: Hub, instance: Instance) -> AbstractContextManager[None]:
        return hub.subscribed(instance, self.outbox)

    async def _digest(self) -> None:
        """Nothing: a subscriber's messages are of no interest."""

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            match event:
                case Ping():
                    self.outbox.pong(bytes(event.payload))
                case TextMessage() | BytesMessage():
                    self._measure(event)
                case CloseConnection():
                    self.outbox.close(self._why_closed(event))

    def _measure(self, message: TextMessage | BytesMessage) -> None:
        """Messages from clients are read and ignored, unless they are too big."""
        data = message.data
        self._message_bytes += len(data.encode() if isinstance(data, str) else data)
        if self._message_bytes > self._limits.message_bytes:
            self.outbox.close(disconnects.MESSAGE_TOO_BIG)
        if message.message_finished:
            self._message_bytes = 0

    def _why_closed(self, event: CloseConnection) -> Disconnect:
        if self._protocol.state is ConnectionState.REMOTE_CLOSING:
            return disconnects.CLIENT_CLOSED
        self._protocol_failed = True
        if event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
            return disconnects.INVALID_TEXT
        return disconnects.PROTOCOL_ERROR

    def _peer_has_closed(self) -> bool:
        return self._protocol.state is ConnectionState.REMOTE_CLOSING
