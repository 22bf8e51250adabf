"""A producer's WebSocket: every text frame is an event (contract, section 6).

The life of any connection, with another reader: received events are published, in order.
While the publisher applies back-pressure nothing is read, so the producer's own socket fills and
it waits; memory stays flat whatever it sends.
"""

import random
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

from ryze import disconnects
from ryze.errors import InvalidEvent
from ryze.events.decoding import decode_event
from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.hub.transport import Transport
from ryze.publishing.publisher import Publisher
from ryze.records import Instance
from ryze.websocket.client_frames import BINARY
from ryze.websocket.connection import Connection, ConnectionLimits
from ryze.websocket.message_reader import MessageReader

__all__ = ["Producer"]

# A producer sends much: few system calls, and large chunks for the message reader.
_RECEIVE_BYTES = 65536


class Producer(Connection):
    """One producer of one instance, after its handshake was accepted.

    Args:
        transport: to the peer; `close` closes it.
        limits: of this connection; `message_bytes` is the limit of one event.
        publisher: takes the events.
        draw: a random number from 0 to 1, for the moment of the first ping.
    """

    __slots__ = ("_events", "_instance", "_messages", "_publisher")

    role = "producer"

    def __init__(
        self,
        transport: Transport,
        limits: ConnectionLimits,
        publisher: Publisher,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(transport, limits, MessageReader(limits.message_bytes), draw=draw)
        transport.receive_bytes = _RECEIVE_BYTES
        self._publisher = publisher
        # Messages so far: the number that names an invalid one.
        self._messages = 0
        # Events received and not yet published: at most those of one chunk.
        self._events: deque[Event] = deque()

    def _attach(
        self, hub: Hub, instance: Instance, token_hash: str | None
    ) -> AbstractContextManager[None]:
        self._instance = instance
        return hub.producing(instance, self.outbox, token_hash)

    async def _process_pending(self) -> None:
        """Publish the received events; cancelled, it has published a first part of them."""
        if self._events:
            await self._publisher.publish_unconfirmed(self._instance, self._events)

    def _take_message(self, opcode: int, payload: bytes) -> None:
        """Decode an event; events before an invalid one stand, bytes behind it are discarded."""
        self._messages += 1
        if self.outbox.disconnect is not None:
            return
        try:
            if opcode == BINARY:
                raise InvalidEvent("expected a text frame")
            self._events.append(decode_event(payload))
        except InvalidEvent as error:
            self.outbox.close(disconnects.invalid_event(self._messages, str(error)))
