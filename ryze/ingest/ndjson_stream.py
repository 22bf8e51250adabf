"""Publish an NDJSON body while it is received: one event per line, in a body that may have no end.

Each line is published when it is received. Whatever ends the stream early (an invalid line, a
timeout, a void token, a drain) becomes an error whose message tells how many events were published
before; those stay published.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import trio

from ryze.errors import BODY_TOO_LARGE, ApiError
from ryze.events.event import Event
from ryze.ingest.bodies import decode_line, invalid_body
from ryze.ingest.ndjson_lines import Line, LineReader, LineTooLong

__all__ = ["EventStream", "StreamLimits"]


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The limits of one stream.

    Args:
        line_bytes: the longest line, without its end.
        line_seconds: the time for the next line to be complete.
    """

    line_bytes: int
    line_seconds: float


class EventStream:
    """The events of one NDJSON body.

    Args:
        receive: waits for more bytes until a deadline on Trio's clock; nothing at the end.
        recheck_access: refuses a token that has become void; called whenever bytes have come.
        publish: publishes events in order, and returns the number of subscribers that the last
            one was handed to. While it waits, nothing is received (back-pressure).
        limits: of this stream.
    """

    def __init__(
        self,
        receive: Callable[[float], Awaitable[bytes]],
        recheck_access: Callable[[], None],
        publish: Callable[[Sequence[Event]], Awaitable[int]],
        limits: StreamLimits,
    ) -> None:
        self._receive = receive
        self._recheck_access = recheck_access
        self._publish = publish
        self._limits = limits
        # Events published so far, and the subscribers that the last one was handed to.
        self.published = 0
        self.clients = 0

    async def publish_all(self, content_encoding: str = "identity") -> None:
        """Publish all events until the body ends.

        Cancelled, it has published the events of the lines before that point.

        Args:
            content_encoding: of the body; only ``identity`` is supported.

        Raises:
            ApiError: 400 for an invalid line, 413 for one that is too long, and those of
                `receive` and `recheck_access`; each message ends with the number of events
                published.
        """
        try:
            if content_encoding.lower() != "identity":
                raise invalid_body("a Content-Encoding is not supported")
            await self._publish_lines()
        except ApiError as error:
            message = f"{error.message}; {self.published} published"
            raise ApiError(error.kind.with_message(message), headers=error.headers) from error

    async def _publish_lines(self) -> None:
        lines = LineReader(self._limits.line_bytes)
        # -1, so that the time for the first line starts at once.
        count, deadline = -1, 0.0
        while True:
            if lines.count > count:
                count, deadline = lines.count, trio.current_time() + self._limits.line_seconds
            data = await self._receive(deadline)
            events, error = await _decode_lines(lines.receive_data(data) if data else lines.end())
            if data or events:
                # Also for bytes without a line, or the stream of a void token could last for ever.
                self._recheck_access()
            if events:
                self.clients = await self._publish(events)
                self.published += len(events)
            if error:
                raise error
            if not data:
                return


async def _decode_lines(lines: Iterator[Line]) -> tuple[list[Event], ApiError | None]:
    """Return the events before the first invalid line, and the error of that line."""
    events: list[Event] = []
    try:
        for line in lines:
            events.append(await decode_line(line))
    except LineTooLong as error:
        return events, ApiError(BODY_TOO_LARGE, detail=f"line {error.number}")
    except ApiError as error:
        return events, error
    return events, None
