"""Publish: how events come in over HTTP (contract, section 6).

    application/json       one event, or an array of them: all or nothing
    multipart/form-data    one event with its media as a file
    application/x-ndjson   one event a line, for as long as the producer likes

A stream is applied line by line as it comes. What ends it early (a bad line, a timeout, a token
that is no longer good) is answered with what was wrong and how many events were published until
then; those stand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import trio
from quart import Blueprint, Response, request

from ryze.api import auth
from ryze.api.auth import Scope, access
from ryze.api.form import FORM, decode_form
from ryze.api.lines import Line, LineReader, LineTooLong
from ryze.api.responses import INVALID_BODY, TOO_LARGE, read_body, success
from ryze.api.services import services
from ryze.api.streams import NDJSON, StreamedBody
from ryze.errors import ApiError, InvalidEvent
from ryze.events import Event, decode_event, decode_events

__all__ = ["blueprint"]

blueprint = Blueprint("publish", __name__)

# From here on events are decoded in a thread: about two milliseconds' worth of small ones.
_LARGE_BYTES = 256 * 1024

# What a reason may have: it quotes what the producer has sent.
_MAX_REASON_CHARACTERS = 200


@blueprint.post("/api/events/publish/<name>")
@access(Scope.INSTANCE, limit="publish")
async def publish(name: str) -> Response:
    """Publish events; answered after the flush that handed out the last one."""
    instance = auth.instance(name)
    if request.mimetype == NDJSON:
        return await _publish_stream(name)
    events = [await _read_form()] if request.mimetype == FORM else await _read_events()
    clients = await services().hub.publish_all(instance.id, events)
    return _published(len(events), clients)


def _published(count: int, clients: int) -> Response:
    return success("Event published", 202, published=count, clients=clients)


async def _read_events() -> list[Event]:
    body = await read_body("application/json")
    try:
        if len(body) > _LARGE_BYTES:
            # Or everybody else would wait for as long as it takes.
            return await trio.to_thread.run_sync(decode_events, body)
        return decode_events(body)
    except InvalidEvent as error:
        raise ApiError(400, INVALID_BODY) from error


async def _read_form() -> Event:
    body = await read_body(FORM)
    boundary = request.mimetype_params.get("boundary", "")
    try:
        if len(body) > _LARGE_BYTES:
            return await trio.to_thread.run_sync(decode_form, body, boundary)
        return decode_form(body, boundary)
    except InvalidEvent as error:
        raise _invalid(str(error)) from error


# --- Streams ---


@dataclass(slots=True)
class _Progress:
    """Of one stream: events published, and how many clients got the last one."""

    published: int = 0
    clients: int = 0


async def _publish_stream(name: str) -> Response:
    progress = _Progress()
    try:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _invalid("a Content-Encoding is not supported")
        await _take_stream(name, progress)
    except ApiError as error:
        message = f"{error.message}; {progress.published} published"
        raise ApiError(error.status, message, error.headers) from error
    return _published(progress.published, progress.clients)


async def _take_stream(name: str, progress: _Progress) -> None:
    """Publish what comes; the next line must have come within the time for a body."""
    settings = services().settings
    body = cast(StreamedBody, request.body)
    lines = LineReader(settings.max_body_bytes)
    count, deadline = -1, 0.0
    while True:
        if lines.count > count:
            count, deadline = lines.count, trio.current_time() + settings.body_timeout_seconds
        data = await services().streams.receive(body, deadline)
        await _take_lines(name, lines.receive_data(data) if data else lines.end(), progress)
        if not data:
            return


async def _take_lines(name: str, lines: Iterator[Line], progress: _Progress) -> None:
    """Publish them up to the first that is wrong."""
    events, fault = [], None
    try:
        for line in lines:
            events.append(await _decode_line(line))
    except LineTooLong as error:
        fault = ApiError(413, f"{TOO_LARGE}: line {error.number}")
    except ApiError as error:
        fault = error
    if events:
        instance = auth.readmit(name)
        progress.clients = await services().hub.publish_all(instance.id, events)
        progress.published += len(events)
    if fault:
        raise fault


async def _decode_line(line: Line) -> Event:
    try:
        if len(line.text) > _LARGE_BYTES:
            return await trio.to_thread.run_sync(decode_event, line.text)
        return decode_event(line.text)
    except InvalidEvent as error:
        raise _invalid(f"line {line.number}: {error}") from error


def _invalid(reason: str) -> ApiError:
    return ApiError(400, f"{INVALID_BODY}: {reason[:_MAX_REASON_CHARACTERS]}")
