"""A client's WebSocket: it gets the events of its instance, and has little to say itself.

Pings are answered, messages are checked, measured and ignored, and the first invalid byte ends
the connection (`scanner`).
"""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager

from ryze.hub.hub import Hub
from ryze.hub.transport import Transport
from ryze.records import Instance
from ryze.websocket.connection import Connection, ConnectionLimits
from ryze.websocket.frame_validator import FrameValidator

__all__ = ["Subscriber"]


class Subscriber(Connection):
    """One client of one instance, after its handshake was accepted.

    Args:
        transport: takes and gives the bytes; the caller closes it.
        limits: see there.
        compression: permessage-deflate was negotiated.
        draw: a random number from 0 to 1, for the moment of the first ping.
    """

    __slots__ = ()

    role = "subscriber"

    def __init__(
        self,
        transport: Transport,
        limits: ConnectionLimits,
        *,
        compression: bool,
        draw: Callable[[], float] = random.random,
    ) -> None:
        scanner = FrameValidator(limits.message_bytes, compression=compression)
        super().__init__(transport, limits, scanner, compressed=compression, draw=draw)

    def _attached(
        self, hub: Hub, instance: Instance, key: str | None
    ) -> AbstractContextManager[None]:
        return hub.subscribed(instance, self.outbox, key)

    async def _digest(self) -> None:
        """Nothing: a subscriber's messages are of no interest."""

    def _take_message(self, opcode: int, payload: bytes) -> None:
        """Nothing: the scanner keeps none."""
