"""The open HTTP connections of a server, and the eviction of idle ones at their cap."""

import itertools
from math import inf

import structlog
import trio
from structlog.contextvars import bound_contextvars

from ryze.access.caps import ConnectionCaps
from ryze.server.hypercorn_connection import HttpConnection, HttpContext
from ryze.server.hypercorn_protocol import Upgrade

__all__ = ["HttpConnections"]

_log = structlog.get_logger("ryze.http")


class HttpConnections:
    """All connections that are HTTP at the moment.

    Args:
        shared: their shared state.
        caps: how many there may be.
    """

    def __init__(self, shared: HttpContext, caps: ConnectionCaps) -> None:
        self._shared = shared
        self._caps = caps
        # Changed by serve().
        self._connections: set[HttpConnection] = set()
        # Connection numbers, for the log.
        self._ids = itertools.count(1)
        # drain() waits here for connections to end.
        self._ended = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._connections)

    async def serve(self, connection: HttpConnection) -> Upgrade | None:
        """Serve a connection until it ends, or the peer asks for a WebSocket."""
        self._connections.add(connection)
        try:
            with bound_contextvars(connection=f"http-{next(self._ids)}"):
                upgrade = await connection.run()
                if upgrade is not None:
                    _log.debug("becomes a WebSocket")
                return upgrade
        finally:
            self._connections.discard(connection)
            self._ended.unpark_all()

    def make_room(self) -> bool:
        """Evict the connection idle for longest if the cap is reached.

        Returns:
            Whether one more connection may be served.
        """
        if self._caps.has_http_room(len(self._connections)):
            return True
        longest_idle = min(self._connections, key=lambda connection: connection.idle_since)
        is_idle = longest_idle.idle_since < inf
        if is_idle:
            longest_idle.abort()
        return is_idle

    def abort_idle(self) -> None:
        """Close all idle connections, which are between two requests."""
        for connection in self._connections:
            if connection.idle_since < inf:
                connection.abort()

    async def drain(self) -> None:
        """Close idle connections, and wait until the others have sent their responses."""
        await self._shared.drain()
        for connection in self._connections:
            connection.close_if_idle()
        while self._connections:
            await self._ended.park()

    def abort(self) -> None:
        """Close all connections, whatever is in flight."""
        for connection in self._connections:
            connection.abort()
