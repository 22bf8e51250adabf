"""Request bodies without an end: passed on while they are received, with back-pressure.

Quart collects a body in the background, as fast as it comes, up to the largest body. A body that
is to be streamed, which its media type tells, is a `StreamedBody` instead:

    socket --> h11 --> Hypercorn's queue (10 pieces) --> fill() --> 64 KiB --> read() --> handler

Each stage waits for the next one, so a busy handler stops the reading of the socket. Once the
response begins, the rest of the body has no reader and is discarded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPRequestEvent,
)
from quart import Request
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody, TrioRequest

from ryze.access.drain_flag import DrainFlag
from ryze.errors import DRAINING, REQUEST_TIMEOUT, ApiError
from ryze.ingest.ndjson_lines import NDJSON

__all__ = ["StreamedBody", "StreamingConnection", "StreamingRequest", "Streams"]

# From this size on nothing more is taken from Hypercorn; the last piece may exceed it.
_BUFFER_BYTES = 64 * 1024


class StreamedBody(TrioBody):
    """The body of one request, between the task that fills it and the handler that reads it."""

    def __init__(self) -> None:
        # Without a largest size, because it is not kept.
        super().__init__(None, None)
        # The handler waits in read().
        self._is_reading = False
        # Set by discard(): nobody reads any more.
        self._is_discarded = False
        # Woken at every change, for both sides.
        self._changed = trio.lowlevel.ParkingLot()

    async def read(self) -> bytes:
        """Return the bytes received since the last call; nothing at the end.

        No checkpoint if there are some already. Cancelling it loses nothing.
        """
        while not self._data and not self._complete.is_set():
            self._is_reading = True
            self._changed.unpark_all()
            try:
                await self._changed.park()
            finally:
                self._is_reading = False
        data = bytes(self._data)
        self._data.clear()
        self._changed.unpark_all()
        return data

    async def fill(self, receive: ASGIReceiveCallable) -> None:
        """Receive the body; returns when the connection is lost and all of it has been read."""
        while True:
            await self._wait_until(lambda: len(self._data) < _BUFFER_BYTES)
            message = await receive()
            if message["type"] == "http.disconnect":
                await self._wait_until(lambda: self._is_reading and not self._data)
                return
            # An HTTP request has no other messages, but Hypercorn's types do not tell.
            request = cast(HTTPRequestEvent, message)
            self.feed(request["body"], is_last=not request["more_body"])

    def feed(self, data: bytes, *, is_last: bool) -> None:
        """Add a piece of the body."""
        if not self._is_discarded:
            self._data += data
        if is_last:
            self.set_complete()
        self._changed.unpark_all()

    def discard(self) -> None:
        """Drop the bytes that are here, and all that follow."""
        self._is_discarded = True
        self._data.clear()
        self._changed.unpark_all()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not (self._is_discarded or condition()):
            await self._changed.park()


class StreamingRequest(TrioRequest):
    """A request whose body is streamed if it is NDJSON."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.mimetype == NDJSON:
            self.body = StreamedBody()


class StreamingConnection(TrioASGIHTTPConnection):
    """Quart's handling of one request, with back-pressure for a streamed body."""

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        """Receive the body; cancel the handler once the connection is lost and all is read."""
        if isinstance(request.body, StreamedBody):
            await request.body.fill(receive)
            nursery.cancel_scope.cancel()
        else:
            await super().handle_messages(nursery, request, receive)

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        """Run the handler; discard the rest of a streamed body when it responds."""
        if isinstance(request.body, StreamedBody):
            send = cast(ASGISendCallable, partial(_discard_and_send, request.body, send))
        await super().handle_request(nursery, request, send)


async def _discard_and_send(
    body: StreamedBody, send: ASGISendCallable, message: ASGISendEvent
) -> None:
    # Hypercorn's queue must move on, or the end of the response could not be sent.
    body.discard()
    await send(message)


class Streams:
    """All streamed requests of a server: each may last until the server drains.

    Args:
        drain: once it has begun, no request waits for more of its body.
    """

    def __init__(self, drain: DrainFlag) -> None:
        # The streams that wait for more of their body; changed by receive().
        self._waiting: set[trio.CancelScope] = set()
        self._drain = drain

    async def receive(self, body: StreamedBody, deadline: float) -> bytes:
        """Wait for more bytes of a body; nothing at its end.

        Args:
            body: of the request.
            deadline: on Trio's clock.

        Raises:
            ApiError: 408 at the deadline, 503 if the server drains.
        """
        scope = trio.CancelScope(deadline=deadline)
        if self._drain.has_begun:
            scope.cancel()
        self._waiting.add(scope)
        try:
            with scope:
                return await body.read()
        finally:
            self._waiting.discard(scope)
        if self._drain.has_begun:
            raise ApiError(DRAINING)
        raise ApiError(REQUEST_TIMEOUT)

    def end(self) -> None:
        """End every waiting stream with a 503, once the drain has begun."""
        for scope in self._waiting:
            scope.cancel()
