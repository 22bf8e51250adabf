"""Request bodies that need not end: handed on as they come, with back-pressure to the socket.

Quart collects a body behind its handler's back as fast as it comes, up to the largest body. One
that is to be streamed (its media type says so) is a `StreamedBody` instead:

    socket --> h11 --> Hypercorn's queue (10 pieces) --> fill() --> 64 KiB --> read() --> handler

Each of these waits for the next one, so a handler that is busy stops the reading of the socket.
With the answer, what still comes loses its reader and is thrown away.
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

from ryze.access.drain import Drain
from ryze.errors import DRAINING, REQUEST_TIMEOUT, ApiError

__all__ = ["NDJSON", "StreamedBody", "StreamingConnection", "StreamingRequest", "Streams"]

# The media type whose body is streamed.
NDJSON = "application/x-ndjson"

# From here on no more is taken from Hypercorn: one piece more may have come by then.
_ROOM_BYTES = 64 * 1024


class StreamedBody(TrioBody):
    """The body of one request, between the task that fills it and the handler that reads it."""

    def __init__(self) -> None:
        # No largest size: it is not kept.
        super().__init__(None, None)
        # The handler waits in read().
        self._is_awaited = False
        # Nobody will read any more: set with the answer.
        self._is_unwanted = False
        # Where either side waits for the other.
        self._news = trio.lowlevel.ParkingLot()

    async def read(self) -> bytes:
        """What has come since the last time; nothing at the end.

        No checkpoint if that is there already. Cancelling it loses nothing.
        """
        while not self._data and not self._complete.is_set():
            self._is_awaited = True
            self._news.unpark_all()
            try:
                await self._news.park()
            finally:
                self._is_awaited = False
        data = bytes(self._data)
        self._data.clear()
        self._news.unpark_all()
        return data

    async def fill(self, receive: ASGIReceiveCallable) -> None:
        """Take in what the peer sends; returns once it is gone and all of that has been read."""
        while True:
            await self._until(lambda: len(self._data) < _ROOM_BYTES)
            message = await receive()
            if message["type"] == "http.disconnect":
                await self._until(lambda: self._is_awaited and not self._data)
                return
            # Nothing else comes to an HTTP request (and there is no type that says so).
            request = cast(HTTPRequestEvent, message)
            self._take(request["body"], is_last=not request["more_body"])

    def discard(self) -> None:
        """Throw away what is here and what will come."""
        self._is_unwanted = True
        self._data.clear()
        self._news.unpark_all()

    def _take(self, data: bytes, *, is_last: bool) -> None:
        if not self._is_unwanted:
            self._data += data
        if is_last:
            self.set_complete()
        self._news.unpark_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not (self._is_unwanted or condition()):
            await self._news.park()


class StreamingRequest(TrioRequest):
    """A request whose body is streamed if its media type asks for that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.mimetype == NDJSON:
            self.body = StreamedBody()


class StreamingConnection(TrioASGIHTTPConnection):
    """How Quart serves one request, with back-pressure for a body that is streamed."""

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        """Hand the body on; the peer's end cancels the handler, when it has read all of it."""
        if isinstance(request.body, StreamedBody):
            await request.body.fill(receive)
            nursery.cancel_scope.cancel()
        else:
            await super().handle_messages(nursery, request, receive)

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        """Answer; from then on the body is not needed."""
        if isinstance(request.body, StreamedBody):
            send = cast(ASGISendCallable, partial(_answer, request.body, send))
        await super().handle_request(nursery, request, send)


async def _answer(body: StreamedBody, send: ASGISendCallable, message: ASGISendEvent) -> None:
    # Hypercorn's queue must move on, or the end of the answer could not be said.
    body.discard()
    await send(message)


class Streams:
    """The streamed requests of a server: each may last for ever, until the server shuts down.

    Args:
        drain: from its beginning on no request waits for more of its body.
    """

    def __init__(self, drain: Drain) -> None:
        # Those that wait for more of their body; receive() changes it.
        self._waiting: set[trio.CancelScope] = set()
        self._drain = drain

    async def receive(self, body: StreamedBody, deadline: float) -> bytes:
        """What has come of a body; nothing at its end.

        Args:
            body: the request's.
            deadline: until when something must have come, on Trio's clock.

        Raises:
            ApiError: 408 at the deadline, 503 if the server shuts down.
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
        """Wake the waiting requests, once the drain has begun."""
        for scope in self._waiting:
            scope.cancel()
