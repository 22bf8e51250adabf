"""All WebSockets of this server: from a request for an upgrade to the last one's end.

The gateway knows nothing of tokens, rate limits or the database: it is handed `admit`, which
says whose events a request may have, or refuses it.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import h11
import structlog
import trio

from ryze.disconnects import CANCELLED, INTERNAL_ERROR, RESTARTING, Disconnect
from ryze.errors import DRAINING, INTERNAL_SERVER_ERROR, TOO_MANY_CONNECTIONS, ApiError
from ryze.hub.hub import Hub
from ryze.hub.outbox import Outbox
from ryze.hub.transport import Transport
from ryze.publishing.publisher import Publisher
from ryze.records import Instance
from ryze.telemetry.counters import WebSocketCounters
from ryze.websocket.connection import Connection, ConnectionLimits
from ryze.websocket.handshake import accept_response, negotiate, refusal_response
from ryze.websocket.producer import Producer
from ryze.websocket.subscriber import Subscriber

__all__ = ["Admission", "Admit", "Session", "WebSocketLimits", "WebSocketServer"]

# Between two clients of a drain: they come back one after the other, not all at once.
_DRAIN_PAUSE_SECONDS = 0.005

_Log = structlog.typing.FilteringBoundLogger

_log: _Log = structlog.get_logger("ryze.gateway")


@dataclass(frozen=True, slots=True)
class Admission:
    """The permission to connect.

    Args:
        instance: whose events the client gets, or publishes.
        key: says which token it was, without being it; see `Hub.revoke`.
        headers: more headers for the 101, e.g. those of the rate limit.
        publishes: the client is a producer.
    """

    instance: Instance
    key: str
    headers: Mapping[str, str]
    publishes: bool = False


class Session(NamedTuple):
    """A connection that has been admitted, and what it begins with.

    All that is left of the request: it and its headers would stay in memory for the life of the
    connection if they stood in a frame of the task that lives it.
    """

    connection: Connection
    instance: Instance
    key: str
    response: bytes
    trailing: bytes
    log: _Log


# Decides on an upgrade request from a client address; raises ApiError to refuse it.
Admit = Callable[[h11.Request, str], Admission]


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """What all connections together may take; 0 is no limit.

    Args:
        subscriber: the limits of each client.
        publisher: likewise, where a producer sends.
        connections: open at the same time.
        connections_per_instance: likewise, for one instance.
    """

    subscriber: ConnectionLimits = ConnectionLimits()  # noqa: RUF009 - frozen
    publisher: ConnectionLimits = ConnectionLimits(message_bytes=32 * 1024 * 1024)  # noqa: RUF009 - frozen
    connections: int = 0
    connections_per_instance: int = 0


class WebSocketServer:
    """Serves WebSockets.

    Args:
        hub: where their events come from.
        publisher: takes the events of producers.
        admit: who may connect.
        limits: see there.
        compression: agree on permessage-deflate with clients that offer it.
        draw: a random number from 0 to 1, for the moment of each client's first ping.
    """

    def __init__(
        self,
        hub: Hub,
        publisher: Publisher,
        admit: Admit,
        limits: WebSocketLimits,
        *,
        compression: bool = False,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._hub = hub
        self._publisher = publisher
        self._admit = admit
        self._limits = limits
        self._compression = compression
        self._draw = draw
        # What has happened so far.
        self.counters = WebSocketCounters()
        # Every open WebSocket, from its 101 until its socket is closed; live() changes it.
        self._connections: set[Connection] = set()
        # Numbers for the log.
        self._ids = itertools.count(1)
        # Set once, by drain(): from then on nobody is admitted.
        self._draining = False
        # Where drain() waits for connections to end.
        self._departures = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return (
            f"<WebSocketServer {len(self._connections)} connections{', draining' * self._draining}>"
        )

    @property
    def connections(self) -> int:
        """How many WebSockets are open, those that are just being closed included."""
        return len(self._connections)

    def connections_by_role(self) -> Counter[str]:
        """The same, subscribers and publishers apart; costs a walk over all of them."""
        return Counter(connection.role for connection in self._connections)

    @property
    def is_draining(self) -> bool:
        """The server is shutting down: nobody is admitted any more."""
        return self._draining

    async def receive(
        self, transport: Transport, request: h11.Request, trailing: bytes, address: str
    ) -> Session | None:
        """Answer an upgrade request with a refusal, or with a session that is to be lived at once.

        There is no checkpoint between admission and return. A refused peer's transport is closed.

        Args:
            transport: the client's end.
            request: the complete request head.
            trailing: what the client has sent behind it.
            address: of the client, for limits and logs.
        """
        log = self._log_of(address)
        try:
            admission = self._admitted(request, address)
            extension = self._extension(request, admission)
            connection = self._connection(transport, admission, extension)
            instance = admission.instance
            return Session(
                connection,
                instance,
                admission.key,
                accept_response(request, extension, admission.headers),
                trailing,
                log.bind(instance=instance.name, instance_id=instance.id, role=connection.role),
            )
        except ApiError as error:
            refusal = error
        except Exception:
            # The one place for what is not a WebSocket yet.
            log.exception("request failed")
            refusal = ApiError(INTERNAL_SERVER_ERROR)
        await self._refuse(transport, refusal, log)
        return None

    async def serve_connection(self, session: Session) -> None:
        """Live an admitted connection to its end; its transport is closed then.

        Cancelling it ends the connection without farewell.
        """
        connection, instance, key, response, trailing, log = session
        self._connections.add(connection)
        self.counters.opened[connection.role] += 1
        failure = None
        log.info("connected")
        try:
            await connection.run(self._hub, instance, response, trailing, key)
        except* Exception:
            # The one place for a WebSocket: a bug ends this connection and no other.
            log.exception("connection failed")
            connection.outbox.close_after_bug()
            failure = INTERNAL_ERROR
        finally:
            connection.close()
            self._connections.discard(connection)
            self._departures.unpark_all()
            self._ended(connection.outbox, failure, log)

    async def refuse(self, transport: Transport, refusal: ApiError, address: str) -> None:
        """Answer with an error instead of a 101, and close the transport.

        The peer has the close grace to take the answer. Cancelling it closes at once.
        """
        await self._refuse(transport, refusal, self._log_of(address))

    async def _refuse(self, transport: Transport, refusal: ApiError, log: _Log) -> None:
        self.counters.refused[refusal.status, refusal.reason] += 1
        log.info("refused", status=refusal.status, reason=refusal.message)
        answer = memoryview(refusal_response(refusal))
        try:
            with trio.move_on_after(self._limits.subscriber.close_grace_seconds), suppress(OSError):
                while (taken := transport.send_nowait(answer)) < len(answer):
                    answer = answer[taken:]
                    await transport.wait_writable()
                # Closing with bytes unread would reset the connection, and the answer with it.
                transport.send_eof()
                while await transport.receive_some():
                    pass
        finally:
            transport.close()

    async def drain(self, deadline: float) -> None:
        """Admit nobody any more, and send everybody away with 1012, one after the other.

        The publishers are first, and all at once: so the clients all get the same, whoever of
        them is the last. Each gets what is pending for it and the close frame, as far as it reads.
        Returns when the last one is gone; those who do not read stay until they are cancelled.

        Args:
            deadline: on Trio's clock; at most a quarter of the time until then is for the
                publishers, half of what is left for the spreading.
        """
        self._draining = True
        for connection in list(self._connections):
            if isinstance(connection, Producer):
                self._send_away(connection, deadline)
        with trio.move_on_after(max(0.0, deadline - trio.current_time()) / 4):
            await self._hub.wait_producers_gone()
        # A publisher that has not hung up yet takes nobody's turn.
        clients = [each for each in self._connections if each.outbox.disconnect is None]
        half = max(0.0, deadline - trio.current_time()) / 2
        pause = min(_DRAIN_PAUSE_SECONDS, half / max(1, len(clients)))
        due = trio.current_time()
        for connection in clients:
            self._send_away(connection, deadline)
            due += pause
            # Not a pause after each: on a busy machine they would add up to more than there is.
            if due > trio.current_time():
                await trio.sleep_until(due)
        while self._connections:
            await self._departures.park()

    def _send_away(self, connection: Connection, deadline: float) -> None:
        grace = max(0.0, deadline - trio.current_time())
        connection.disconnect(RESTARTING, grace_seconds=grace)

    def _log_of(self, address: str) -> _Log:
        """The log of one connection, which has its number from now on."""
        return _log.bind(connection=f"ws-{next(self._ids)}", client=address)

    def _ended(self, outbox: Outbox, failure: Disconnect | None, log: _Log) -> None:
        """Say and count why a connection has ended, and what its client has not got."""
        why = failure or outbox.disconnect or CANCELLED
        lost = outbox.discarded + outbox.pending
        self.counters.disconnected[why.metric_label] += 1
        self.counters.lost += lost
        log.info("disconnected", code=why.code, reason=why.reason, lost=lost)

    def _admitted(self, request: h11.Request, address: str) -> Admission:
        admission = self._admit(request, address)
        if self._draining:
            raise ApiError(DRAINING, headers=admission.headers)
        limits = self._limits
        of_instance = self._hub.connection_count(admission.instance.id)
        if (
            0 < limits.connections <= len(self._connections)
            or 0 < limits.connections_per_instance <= of_instance
        ):
            raise ApiError(TOO_MANY_CONNECTIONS, headers=admission.headers)
        return admission

    def _extension(self, request: h11.Request, admission: Admission) -> str | None:
        # A publisher's frames are read by a reader that knows no extensions.
        return negotiate(request) if self._compression and not admission.publishes else None

    def _connection(
        self, transport: Transport, admission: Admission, extension: str | None
    ) -> Connection:
        if admission.publishes:
            return Producer(transport, self._limits.publisher, self._publisher, draw=self._draw)
        return Subscriber(
            transport, self._limits.subscriber, compression=extension is not None, draw=self._draw
        )
