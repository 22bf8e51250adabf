"""A subscriber's WebSocket: it receives the events of its instance.

Pings get a pong; messages are validated, counted against the size limit and discarded, and the
first invalid byte ends the connection (`frame_validator`).
"""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager

from ryze.hub.hub import Hub
from ryze.hub.transport import Transport
from ryze.records import Instance
from ryze.websocket.connection import Connection, ConnectionLimits
from ryze.websocket.frame_validator import FrameValidator
from ryze.websocket.views import DEFLATED, PLAIN

__all__ = ["Subscriber"]


class Subscriber(Connection):
    """One subscriber of one instance, after its handshake was accepted.

    Args:
        transport: to the peer; `close` closes it.
        limits: of this connection.
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
        reader = FrameValidator(limits.message_bytes, compression=compression)
        view = DEFLATED if compression else PLAIN
        super().__init__(transport, limits, reader, view=view, draw=draw)

    def _attach(
        self, hub: Hub, instance: Instance, token_hash: str | None
    ) -> AbstractContextManager[None]:
        return hub.subscribed(instance, self.outbox, token_hash)

    async def _process_pending(self) -> None:
        """Do nothing: the messages of a subscriber have no meaning."""

    def _take_message(self, opcode: int, payload: bytes) -> None:
        """Do nothing: the frame validator yields no messages."""
