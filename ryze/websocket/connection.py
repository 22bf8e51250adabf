"""The life of a WebSocket from its 101 to its end: a nursery with a reader and, at times, a writer.

What its peer sends, and what that means, is for `subscriber` and `publisher` to say.

    101 --> open --> closing --> closed
             |          |
             |          +-- the writer sends what must still go out and the close frame;
             |              the reader waits for the peer's; both at most for the close grace
             +-- the reader feeds the protocol and keeps the heartbeat;
                 the hub fills the outbox; the writer lives while the client lags

Whoever ends it (the peer, the hub, the heartbeat, a shutdown) closes the outbox with a reason;
that wakes the reader, and the rest follows from there in one order: out of the hub, farewell,
socket closed. The heartbeat has no task of its own: it is the reader's deadline.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import ClassVar, Protocol

import trio

from ryze import disconnects
from ryze.disconnects import Disconnect
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.records import Instance
from ryze.server.transport import Transport
from ryze.websocket.client_frames import CLOSE, PING, FrameError, check_close

__all__ = ["Connection", "ConnectionLimits"]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may take, and for how long.

    Args:
        outbox: how much may be pending for it.
        ping_interval_seconds: between two pings.
        pong_timeout_seconds: without any byte from the client, the connection ends.
        close_grace_seconds: from the reason to close until the socket is closed.
        message_bytes: a longer message from the client ends the connection.
    """

    outbox: OutboxLimits = OutboxLimits()  # noqa: RUF009 - frozen
    ping_interval_seconds: float = 30
    pong_timeout_seconds: float = 60
    close_grace_seconds: float = 2
    message_bytes: int = 65536


class _Reader(Protocol):
    def receive_data(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """What is whole by these bytes, as (opcode, payload).

        Raises:
            FrameError: the peer broke the protocol; nothing may be fed after that.
        """


class Connection(ABC):
    """One client of one instance, after its handshake was accepted.

    Args:
        transport: takes and gives the bytes; the caller closes it.
        limits: see there.
        reader: of the peer's frames.
        compressed: permessage-deflate was negotiated.
        draw: a random number from 0 to 1, for the moment of the first ping.
    """

    __slots__ = (
        "_draw",
        "_grace_seconds",
        "_last_byte",
        "_limits",
        "_next_ping",
        "_nursery",
        "_peer_closed",
        "_protocol_failed",
        "_reader",
        "_transport",
        "_wait",
        "outbox",
    )

    # What its peer is to the instance; for logs and metrics.
    role: ClassVar[str]

    def __init__(
        self,
        transport: Transport,
        limits: ConnectionLimits,
        reader: _Reader,
        *,
        compressed: bool = False,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._reader = reader
        self._draw = draw
        self.outbox = Outbox(
            transport,
            limits.outbox,
            start_writer=self._start_writer,
            on_close=self._stop_waiting,
            compressed=compressed,
        )
        # How long it may take to send what must still go out; a drain gives more.
        self._grace_seconds = limits.close_grace_seconds
        # Owns the writer; there from run() on.
        self._nursery: trio.Nursery | None = None
        # What the reader waits in; cancelled to tell it that the outbox is closed.
        self._wait: trio.CancelScope | None = None
        # The peer has sent its close frame, or has broken the protocol: what comes after that is
        # thrown away (RFC 6455, sections 1.4 and 7.1.7).
        self._peer_closed = self._protocol_failed = False
        # The heartbeat: when the client was last heard, when the next ping is due.
        self._last_byte = self._next_ping = 0.0

    async def run(
        self, hub: Hub, instance: Instance, response: bytes, trailing: bytes, key: str | None = None
    ) -> None:
        """Live the whole life of the connection; returns when it may be closed.

        There is no await before the hub knows the client, so nothing can change between the
        caller's checks and that moment. Cancelling it ends the connection without farewell.

        Args:
            hub: where the events of `instance` come from.
            instance: whose events the client gets.
            response: the 101, which goes out first.
            trailing: what the client has sent behind its handshake.
            key: which token opened it; see `Hub.subscribed`.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with self._attached(hub, instance, key):
                self.outbox.send_handshake(response)
                self._feed(trailing)
                await self._read()
                await self._digest()
            await self._part(nursery.cancel_scope)

    def disconnect(self, disconnect: Disconnect, *, grace_seconds: float | None = None) -> None:
        """Begin to end the connection; the first reason counts."""
        if grace_seconds is not None and self.outbox.disconnect is None:
            self._grace_seconds = grace_seconds
        self.outbox.close(disconnect)

    def close(self) -> None:
        """Close the socket; reset it if the peer has not taken all that was to be said.

        Nothing is left that refers to itself, so that its memory is given back at once.
        """
        if self.outbox.is_empty:
            self._transport.close()
        else:
            self._transport.abort()
        self._nursery = None
        self.outbox.release()

    # What a subscriber and a publisher do each in its own way

    @abstractmethod
    def _attached(
        self, hub: Hub, instance: Instance, key: str | None
    ) -> AbstractContextManager[None]:
        """While inside, the hub knows this connection."""

    @abstractmethod
    def _take_message(self, opcode: int, payload: bytes) -> None:
        """Take in a whole message of the peer's, if the reader gives any."""

    @abstractmethod
    async def _digest(self) -> None:
        """Deal with messages taken in; it may be cancelled, and is called again then."""

    # What the peer sends

    def _feed(self, data: bytes) -> None:
        """Take in what the peer has sent; a fault in it closes the outbox."""
        if self._peer_closed or self._protocol_failed:
            return
        try:
            for opcode, payload in self._reader.receive_data(data):
                self._take(opcode, payload)
        except FrameError as error:
            self._protocol_failed = True
            self.outbox.close(error.disconnect)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode < CLOSE:
            self._take_message(opcode, payload)
        elif opcode == PING:
            self.outbox.pong(payload)
        elif opcode == CLOSE:
            check_close(payload)
            self._peer_closed = True
            self.outbox.close(disconnects.CLIENT_CLOSED)

    # Reader and heartbeat

    async def _read(self) -> None:
        self._last_byte = trio.current_time()
        self._next_ping = self._last_byte + self._draw() * self._limits.ping_interval_seconds
        while self.outbox.disconnect is None:
            silent_until = self._last_byte + self._limits.pong_timeout_seconds
            await self._read_until(min(self._next_ping, silent_until))
            self._beat(trio.current_time())

    async def _read_until(self, deadline: float) -> None:
        """Take in what comes, until something may be due or the outbox closes.

        The deadline stays where it is when bytes come: looking once too often is cheaper than
        moving it with each of them.
        """
        with trio.CancelScope(deadline=deadline) as self._wait:
            # What the last deadline has cut off.
            await self._digest()
            while self.outbox.disconnect is None:
                data = await self._receive()
                if not data:
                    self.outbox.close(disconnects.CONNECTION_LOST)
                    break
                self._last_byte = trio.current_time()
                self._feed(data)
                await self._digest()
        self._wait = None

    async def _receive(self) -> bytes:
        """Some bytes; none at the peer's end, however that came."""
        try:
            return await self._transport.receive_some()
        except OSError:
            return b""

    def _beat(self, now: float) -> None:
        if now >= self._last_byte + self._limits.pong_timeout_seconds:
            self.outbox.close(disconnects.NO_HEARTBEAT)
        elif now >= self._next_ping:
            self._next_ping = now + self._limits.ping_interval_seconds
            self.outbox.ping()

    # The end

    async def _part(self, scope: trio.CancelScope) -> None:
        """Let the farewell go out and wait for the peer's, at most for the close grace.

        The writer is in the nursery: leaving that waits for it.
        """
        if self.outbox.disconnect is disconnects.CONNECTION_LOST:
            scope.cancel()
            return
        is_said = self.outbox.is_empty
        grace = self._limits.close_grace_seconds if is_said else self._grace_seconds
        scope.deadline = trio.current_time() + grace
        if is_said and self._protocol_failed:
            # Its answer could not be read any more: let it see the end and hang up.
            self._send_eof()
        while not self._peer_closed and (data := await self._receive()):
            self._feed(data)

    def _send_eof(self) -> None:
        with suppress(OSError):
            self._transport.send_eof()

    def _start_writer(self) -> None:
        assert self._nursery is not None, "the outbox is used inside run() only"
        # A cancelled nursery may be closed already, and nothing waits for a writer any more.
        if not self._nursery.cancel_scope.cancel_called:
            self._nursery.start_soon(self.outbox.write)

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
