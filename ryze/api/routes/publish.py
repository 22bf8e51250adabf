"""Publish: how events come in over HTTP (contract, section 6).

    application/json       one event, or an array of them: all or nothing
    multipart/form-data    one event with its media as a file
    application/x-ndjson   one event a line, for as long as the producer likes

A stream is applied line by line as it comes. What ends it early (a bad line, a timeout, a token
that is no longer good) is answered with what was wrong and how many events were published until
then; those stand.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

import trio
from quart import Blueprint, Response, request

from ryze.api import authorization as auth
from ryze.api.authorization import Scope, access
from ryze.api.response_bodies import EventsPublished
from ryze.api.responses import json_response, read_body
from ryze.api.services import services
from ryze.api.streamed_body import NDJSON, StreamedBody
from ryze.errors import BODY_TOO_LARGE, INVALID_BODY, ApiError, InvalidEvent
from ryze.events.decoding import decode_event, decode_events
from ryze.events.event import Event
from ryze.ingest.form import FORM, decode_form
from ryze.ingest.ndjson import Line, LineReader, LineTooLong
from ryze.records import Instance

__all__ = ["blueprint"]

blueprint = Blueprint("publish", __name__)

_T = TypeVar("_T")

# From here on events are decoded in a thread: about two milliseconds' worth of small ones.
_LARGE_BYTES = 256 * 1024

# What a reason may have: it quotes what the producer has sent.
_MAX_REASON_CHARACTERS = 200


@blueprint.post("/api/events/publish/<name>")
@access(Scope.INSTANCE, limit="publish")
async def publish(name: str) -> Response:
    """Publish events; answered after the flush that handed out the last one."""
    instance = auth.find_instance(name)
    if request.mimetype == NDJSON:
        return await _publish_stream(instance)
    events = [await _read_form()] if request.mimetype == FORM else await _read_events()
    clients = await services().publisher.publish(instance, events)
    return _published(len(events), clients)


def _published(count: int, clients: int) -> Response:
    return json_response(EventsPublished(published=count, clients=clients), 202)


async def _read_events() -> list[Event]:
    body = await read_body("application/json")
    try:
        return await _decoded(body, decode_events)
    except InvalidEvent as error:
        raise ApiError(INVALID_BODY) from error


async def _read_form() -> Event:
    body = await read_body(FORM)
    boundary = request.mimetype_params.get("boundary", "")
    try:
        return await _decoded(body, partial(decode_form, boundary=boundary))
    except InvalidEvent as error:
        raise _invalid(str(error)) from error


# --- Streams ---


@dataclass(slots=True)
class _Progress:
    """Of one stream: events published, and how many clients got the last one."""

    published: int = 0
    clients: int = 0


async def _publish_stream(instance: Instance) -> Response:
    progress = _Progress()
    try:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _invalid("a Content-Encoding is not supported")
        await _take_stream(instance, progress)
    except ApiError as error:
        message = f"{error.message}; {progress.published} published"
        raise ApiError(error.kind.with_message(message), headers=error.headers) from error
    return _published(progress.published, progress.clients)


async def _take_stream(instance: Instance, progress: _Progress) -> None:
    """Publish what comes; the next line must have come within the time for a body."""
    settings = services().settings
    body = cast(StreamedBody, request.body)
    lines = LineReader(settings.max_body_bytes)
    # Before the first line: its time starts at once.
    count, deadline = -1, 0.0
    while True:
        if lines.count > count:
            count, deadline = lines.count, trio.current_time() + settings.body_timeout_seconds
        data = await services().streams.receive(body, deadline)
        events, fault = await _decode_lines(lines.receive_data(data) if data else lines.end())
        if data or events:
            # Also of a piece without a line: else a void token's stream could last for ever.
            auth.recheck_access(instance)
        if events:
            progress.clients = await services().publisher.publish(instance, events)
            progress.published += len(events)
        if fault:
            raise fault
        if not data:
            return


async def _decode_lines(lines: Iterator[Line]) -> tuple[list[Event], ApiError | None]:
    """The events up to the first line that is wrong, and what is wrong with that."""
    events: list[Event] = []
    try:
        for line in lines:
            events.append(await _decode_line(line))
    except LineTooLong as error:
        return events, ApiError(BODY_TOO_LARGE, detail=f"line {error.number}")
    except ApiError as error:
        return events, error
    return events, None


async def _decode_line(line: Line) -> Event:
    try:
        return await _decoded(line.text, decode_event)
    except InvalidEvent as error:
        raise _invalid(f"line {line.number}: {error}") from error


def _invalid(reason: str) -> ApiError:
    return ApiError(INVALID_BODY, detail=reason[:_MAX_REASON_CHARACTERS])


async def _decoded(body: bytes, decode: Callable[[bytes], _T]) -> _T:
    """Decode a body; a large one in a thread, or everybody else would wait for it."""
    if len(body) > _LARGE_BYTES:
        return await trio.to_thread.run_sync(decode, body)
    return decode(body)
