"""A producer's WebSocket: every text frame is an event (contract, section 6).

The same life as any connection's, with another reader: what comes in is published, in order.
While the hub has no room for more of this instance, nothing is read, so the producer's own
socket fills and it waits; memory stays flat whatever it sends.
"""

import random
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

import trio

from ryze import disconnects
from ryze.errors import InvalidEvent
from ryze.events.decoding import decode_event
from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.hub.transport import Transport
from ryze.records import Instance
from ryze.websocket.client_frames import BINARY
from ryze.websocket.connection import Connection, ConnectionLimits
from ryze.websocket.message_reader import MessageReader

__all__ = ["Producer"]

# A producer sends much: few system calls, and whole chunks for the frame reader.
_RECEIVE_BYTES = 65536


class Producer(Connection):
    """One producer of one instance, after its handshake was accepted.

    Args:
        transport: takes and gives the bytes; the caller closes it.
        limits: see there; `message_bytes` is what one frame may have.
        draw: a random number from 0 to 1, for the moment of the first ping.
    """

    __slots__ = ("_events", "_frames", "_hub", "_instance")

    role = "publisher"

    def __init__(
        self,
        transport: Transport,
        limits: ConnectionLimits,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(transport, limits, MessageReader(limits.message_bytes), draw=draw)
        transport.receive_bytes = _RECEIVE_BYTES
        # Data frames so far: the number that names a bad one.
        self._frames = 0
        # Events that have come in and are not yet published: at most those of one chunk.
        self._events: deque[Event] = deque()

    def _attached(
        self, hub: Hub, instance: Instance, key: str | None
    ) -> AbstractContextManager[None]:
        self._hub, self._instance = hub, instance
        return hub.publishing(instance, self.outbox, key)

    async def _digest(self) -> None:
        """Publish what has come in; a cancelled publisher has published a first part of it."""
        while self._events:
            if not self._hub.publish_now(self._instance.id, self._events):
                await self._hub.publish_when_ready(self._instance.id, self._events[0])
                self._events.popleft()
            elif self._events:
                await trio.lowlevel.checkpoint()

    def _take_message(self, opcode: int, payload: bytes) -> None:
        """What came before a bad frame stands, what comes behind it is thrown away."""
        self._frames += 1
        if self.outbox.disconnect is not None:
            return
        try:
            if opcode == BINARY:
                raise InvalidEvent("expected a text frame")
            self._events.append(decode_event(payload))
        except InvalidEvent as error:
            self.outbox.close(disconnects.bad_frame(self._frames, str(error)))
