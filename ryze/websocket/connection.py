"""The life of a WebSocket after its 101: a nursery with a reader and, at times, a writer.

    101 --> open --> closing --> closed
             |          |
             |          +-- the writer sends the bytes that must still go out and the close frame;
             |              the reader waits for the peer's; both at most for the close grace
             +-- the reader feeds the protocol and keeps the heartbeat;
                 the hub fills the outbox; the writer lives while the peer lags

Every end (by the peer, the hub, the heartbeat, a drain) begins by closing the outbox with a reason;
that wakes the reader, and the rest follows in one order: out of the hub, closing handshake, socket
closed. The heartbeat has no task of its own: it is the reader's deadline.

`subscriber` and `producer` decide what the peer's messages mean.
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
from ryze.hub.transport import Transport
from ryze.hub.view import View
from ryze.records import Instance
from ryze.websocket.client_frames import CLOSE, PING, FrameError, check_close
from ryze.websocket.server_frames import ping_frame, pong_frame
from ryze.websocket.views import PLAIN

__all__ = ["Connection", "ConnectionLimits"]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of one connection.

    Args:
        outbox: how much may be pending for it.
        ping_interval_seconds: time between two pings.
        pong_timeout_seconds: time without any byte from the peer that ends the connection.
        close_grace_seconds: time from the reason to close until the socket is closed.
        message_bytes: a longer message from the peer ends the connection.
    """

    outbox: OutboxLimits = OutboxLimits()  # noqa: RUF009 - frozen
    ping_interval_seconds: float = 30
    pong_timeout_seconds: float = 60
    close_grace_seconds: float = 2
    message_bytes: int = 65536


class _FrameReader(Protocol):
    def receive_data(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Feed bytes; yields the messages that they complete, as (opcode, payload).

        Raises:
            FrameError: the peer broke the protocol; nothing may be fed after that.
        """


class Connection(ABC):
    """One WebSocket of one instance, after its handshake was accepted.

    Args:
        transport: to the peer; `close` closes it.
        limits: of this connection.
        reader: parses the peer's frames.
        view: how messages are written to the peer.
        draw: a random number from 0 to 1, for the moment of the first ping.
    """

    __slots__ = (
        "_draw",
        "_grace_seconds",
        "_has_protocol_error",
        "_is_peer_closed",
        "_last_byte",
        "_limits",
        "_next_ping",
        "_nursery",
        "_reader",
        "_receiving",
        "_transport",
        "outbox",
    )

    # The peer's part in the instance; a label of logs and metrics.
    role: ClassVar[str]

    def __init__(
        self,
        transport: Transport,
        limits: ConnectionLimits,
        reader: _FrameReader,
        *,
        view: View = PLAIN,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._reader = reader
        self._draw = draw
        self.outbox = Outbox(
            transport,
            limits.outbox,
            view,
            start_writer=self._start_writer,
            on_close=self._stop_receiving,
        )
        # Seconds for what must still go out before the close; a drain gives more.
        self._grace_seconds = limits.close_grace_seconds
        # Owns the writer; set while run() runs.
        self._nursery: trio.Nursery | None = None
        # Around the reader's receive; cancelled to tell it that the outbox is closed.
        self._receiving: trio.CancelScope | None = None
        # The peer has sent its close frame, or has broken the protocol: bytes after that are
        # discarded (RFC 6455, sections 1.4 and 7.1.7).
        self._is_peer_closed = self._has_protocol_error = False
        # The heartbeat, on Trio's clock: when the peer was last heard, when the next ping is due.
        self._last_byte = self._next_ping = 0.0

    async def run(
        self,
        hub: Hub,
        instance: Instance,
        response: bytes,
        trailing: bytes,
        token_hash: str | None = None,
    ) -> None:
        """Run the connection from the 101 to the end; `close` may be called when it returns.

        There is no await before the hub knows the connection, so nothing can change between the
        caller's checks and that moment. Cancelling it ends the connection without a closing
        handshake.

        Args:
            hub: subscribes or registers the peer.
            instance: the instance of the peer.
            response: the 101, which goes out first.
            trailing: bytes that the peer has sent behind its request.
            token_hash: the token that opened the connection; see `Hub.subscribed`.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with self._attach(hub, instance, token_hash):
                self.outbox.send_handshake(response)
                self._feed(trailing)
                await self._read()
                await self._process_pending()
            await self._closing_handshake(nursery.cancel_scope)

    def disconnect(self, disconnect: Disconnect, *, grace_seconds: float | None = None) -> None:
        """Begin to end the connection; the first reason counts."""
        if grace_seconds is not None and self.outbox.disconnect is None:
            self._grace_seconds = grace_seconds
        self.outbox.close(disconnect)

    def close(self) -> None:
        """Close the socket; reset it if the peer has not taken everything.

        Breaks the reference cycles of the connection, so that its memory is freed at once.
        """
        if self.outbox.is_empty:
            self._transport.close()
        else:
            self._transport.abort()
        self._nursery = None
        self.outbox.release()

    # Differences of subscriber and producer

    @abstractmethod
    def _attach(
        self, hub: Hub, instance: Instance, token_hash: str | None
    ) -> AbstractContextManager[None]:
        """Make the connection known to the hub while inside."""

    @abstractmethod
    def _take_message(self, opcode: int, payload: bytes) -> None:
        """Handle a whole message of the peer, if the reader yields any."""

    @abstractmethod
    async def _process_pending(self) -> None:
        """Process received messages; cancelled, it is called again later."""

    # Bytes from the peer

    def _feed(self, data: bytes) -> None:
        """Parse bytes of the peer; a protocol error closes the outbox."""
        if self._is_peer_closed or self._has_protocol_error:
            return
        try:
            for opcode, payload in self._reader.receive_data(data):
                self._take(opcode, payload)
        except FrameError as error:
            self._has_protocol_error = True
            self.outbox.close(error.disconnect)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode < CLOSE:
            self._take_message(opcode, payload)
        elif opcode == PING:
            self.outbox.send_reply(pong_frame(payload))
        elif opcode == CLOSE:
            check_close(payload)
            self._is_peer_closed = True
            self.outbox.close(disconnects.CLIENT_CLOSED)

    # Reader and heartbeat

    async def _read(self) -> None:
        """Read until the outbox closes."""
        self._last_byte = trio.current_time()
        self._next_ping = self._last_byte + self._draw() * self._limits.ping_interval_seconds
        while self.outbox.disconnect is None:
            silent_until = self._last_byte + self._limits.pong_timeout_seconds
            await self._read_until(min(self._next_ping, silent_until))
            self._heartbeat(trio.current_time())

    async def _read_until(self, deadline: float) -> None:
        """Read until the deadline, or until the outbox closes.

        The deadline is not moved when bytes come: an early wake-up per deadline is cheaper than
        a new deadline per read.
        """
        with trio.CancelScope(deadline=deadline) as self._receiving:
            # Messages whose processing the last deadline has cancelled.
            await self._process_pending()
            while self.outbox.disconnect is None:
                data = await self._receive()
                if not data:
                    self.outbox.close(disconnects.CONNECTION_LOST)
                    break
                self._last_byte = trio.current_time()
                self._feed(data)
                await self._process_pending()
        self._receiving = None

    async def _receive(self) -> bytes:
        """Receive some bytes; none once the peer has closed its end or the connection is lost."""
        try:
            return await self._transport.receive_some()
        except OSError:
            return b""

    def _heartbeat(self, now: float) -> None:
        if now >= self._last_byte + self._limits.pong_timeout_seconds:
            self.outbox.close(disconnects.NO_HEARTBEAT)
        elif now >= self._next_ping:
            self._next_ping = now + self._limits.ping_interval_seconds
            self.outbox.send_heartbeat(ping_frame())

    # The end

    async def _closing_handshake(self, scope: trio.CancelScope) -> None:
        """Let the close frame go out and wait for the peer's, at most for the close grace.

        The writer is in the nursery: leaving that waits for it.
        """
        if self.outbox.disconnect is disconnects.CONNECTION_LOST:
            scope.cancel()
            return
        is_sent = self.outbox.is_empty
        grace = self._limits.close_grace_seconds if is_sent else self._grace_seconds
        scope.deadline = trio.current_time() + grace
        if is_sent and self._has_protocol_error:
            # Its close frame could not be parsed any more: our end tells it to close.
            self._send_eof()
        while not self._is_peer_closed and (data := await self._receive()):
            self._feed(data)

    def _send_eof(self) -> None:
        with suppress(OSError):
            self._transport.send_eof()

    def _start_writer(self) -> None:
        assert self._nursery is not None, "the outbox is used inside run() only"
        # A cancelled nursery may be closed already, and then no writer is needed any more.
        if not self._nursery.cancel_scope.cancel_called:
            self._nursery.start_soon(self.outbox.write)

    def _stop_receiving(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
