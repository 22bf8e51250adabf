"""All WebSockets of this server: from the admitted upgrade request to the end of the last one.

Nothing here knows tokens, rate limits or refusals: requests come with an admission
(`ryze.access.upgrades`).
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import h11
import structlog
import trio

from ryze.disconnects import CANCELLED, INTERNAL_ERROR, RESTARTING, Disconnect
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox
from ryze.hub.transport import Transport
from ryze.publishing.publisher import Publisher
from ryze.records import Instance
from ryze.telemetry.counters import WebSocketCounters
from ryze.websocket.connection import Connection, ConnectionLimits
from ryze.websocket.handshake import accept_response, negotiate
from ryze.websocket.producer import Producer
from ryze.websocket.subscriber import Subscriber

__all__ = ["Admitted", "Session", "WebSocketLimits", "WebSocketServer"]

# Between two subscribers of a drain: spread out, so that they do not all reconnect at once.
_DRAIN_PAUSE_SECONDS = 0.005

_Log = structlog.typing.FilteringBoundLogger

_log: _Log = structlog.get_logger("ryze.websocket")


class Admitted(Protocol):
    """The parts of a `ryze.access.upgrades.Admission` that are used here."""

    @property
    def instance(self) -> Instance:
        """The instance whose events the peer receives or publishes."""

    @property
    def token_hash(self) -> str:
        """Of the token that was sent; the hub ends the connection when it is revoked."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Further headers for the 101."""

    @property
    def is_producer(self) -> bool:
        """The peer publishes events."""


class Session(NamedTuple):
    """A connection that has been accepted, and its initial data.

    All that is kept of the request: in a frame of the task that serves the connection, the request
    and its headers would stay in memory as long as the connection.
    """

    connection: Connection
    instance: Instance
    token_hash: str
    response: bytes
    trailing: bytes
    log: _Log


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """Limits by role.

    Args:
        subscriber: of each subscriber.
        producer: of each producer.
    """

    subscriber: ConnectionLimits = ConnectionLimits()  # noqa: RUF009 - frozen
    producer: ConnectionLimits = ConnectionLimits(message_bytes=32 * 1024 * 1024)  # noqa: RUF009 - frozen


class WebSocketServer:
    """Serves WebSockets.

    Args:
        hub: delivers events to subscribers.
        publisher: publishes the events of producers.
        limits: by role.
        compression: agree on permessage-deflate with subscribers that offer it.
        draw: a random number from 0 to 1, for the time of the first ping.
    """

    def __init__(
        self,
        hub: Hub,
        publisher: Publisher,
        limits: WebSocketLimits,
        *,
        compression: bool = False,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._hub = hub
        self._publisher = publisher
        self._limits = limits
        self._compression = compression
        self._draw = draw
        # Since the start of the server.
        self.counters = WebSocketCounters()
        # Every open WebSocket, from its 101 until its socket is closed; changed by
        # serve_connection().
        self._connections: set[Connection] = set()
        # drain() waits here for connections to end.
        self._ended = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<WebSocketServer {len(self._connections)} connections>"

    @property
    def connections(self) -> int:
        """The number of open WebSockets, closing ones included."""
        return len(self._connections)

    def connections_by_role(self) -> Counter[str]:
        """Count subscribers and producers apart: a walk over all of them."""
        return Counter(connection.role for connection in self._connections)

    def accept(
        self,
        transport: Transport,
        request: h11.Request,
        trailing: bytes,
        admission: Admitted,
        *,
        connection_id: str,
        address: str,
    ) -> Session:
        """Prepare the connection of an admitted upgrade request.

        `serve_connection` must follow without a checkpoint after the admission.

        Args:
            transport: to the peer.
            request: the complete request head.
            trailing: the bytes received after it.
            admission: of this request.
            connection_id: for the log.
            address: of the client, for the log.
        """
        extension = self._extension(request, admission)
        connection = self._connection(transport, admission, extension)
        instance = admission.instance
        log = _log.bind(
            connection=connection_id,
            client=address,
            instance=instance.name,
            instance_id=instance.id,
            role=connection.role,
        )
        response = accept_response(request, extension, admission.headers)
        return Session(connection, instance, admission.token_hash, response, trailing, log)

    async def serve_connection(self, session: Session) -> None:
        """Serve an accepted connection until it ends; its transport is closed then.

        Cancelling it ends the connection without a closing handshake.
        """
        connection, instance, token_hash, response, trailing, log = session
        self._connections.add(connection)
        self.counters.opened[connection.role] += 1
        failure = None
        log.info("connected")
        try:
            await connection.run(self._hub, instance, response, trailing, token_hash)
        except* Exception:
            # The one place for a WebSocket: a bug ends this connection and no other.
            log.exception("connection failed")
            connection.outbox.close_after_bug()
            failure = INTERNAL_ERROR
        finally:
            connection.close()
            self._connections.discard(connection)
            self._ended.unpark_all()
            self._count_end(connection.outbox, failure, log)

    async def drain(self, deadline: float) -> None:
        """Close all connections with 1012: producers at once, then subscribers one by one.

        Producers first, so that all subscribers receive the same events, whatever their turn. Each
        receives what is pending and the close frame, as far as it reads. Returns when the last
        connection has ended; peers that do not read stay until they are cancelled.

        Args:
            deadline: on Trio's clock. At most a quarter of the time until then is for the
                producers, half of the rest for the pauses between subscribers.
        """
        for connection in list(self._connections):
            if isinstance(connection, Producer):
                self._close(connection, deadline)
        with trio.move_on_after(max(0.0, deadline - trio.current_time()) / 4):
            await self._hub.wait_producers_gone()
        # Producers that are still closing must not count for the pauses.
        subscribers = [each for each in self._connections if each.outbox.disconnect is None]
        half = max(0.0, deadline - trio.current_time()) / 2
        pause = min(_DRAIN_PAUSE_SECONDS, half / max(1, len(subscribers)))
        due = trio.current_time()
        for connection in subscribers:
            self._close(connection, deadline)
            due += pause
            # Not a sleep after each: on a busy machine they would add up to more than half.
            if due > trio.current_time():
                await trio.sleep_until(due)
        while self._connections:
            await self._ended.park()

    def _close(self, connection: Connection, deadline: float) -> None:
        grace = max(0.0, deadline - trio.current_time())
        connection.disconnect(RESTARTING, grace_seconds=grace)

    def _count_end(self, outbox: Outbox, failure: Disconnect | None, log: _Log) -> None:
        """Count and log the end of a connection, and the events that its peer did not receive."""
        cause = failure or outbox.disconnect or CANCELLED
        lost = outbox.discarded + outbox.pending
        self.counters.disconnected[cause.metric_label] += 1
        self.counters.lost += lost
        log.info("disconnected", code=cause.code, reason=cause.reason, lost=lost)

    def _extension(self, request: h11.Request, admission: Admitted) -> str | None:
        # The frame reader of producers knows no extensions.
        return negotiate(request) if self._compression and not admission.is_producer else None

    def _connection(
        self, transport: Transport, admission: Admitted, extension: str | None
    ) -> Connection:
        if admission.is_producer:
            return Producer(transport, self._limits.producer, self._publisher, draw=self._draw)
        return Subscriber(
            transport, self._limits.subscriber, compression=extension is not None, draw=self._draw
        )
