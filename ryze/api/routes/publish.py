"""Publish events over HTTP (contract, section 6).

application/json       one event, or an array of events: all or nothing
multipart/form-data    one event with its media as a file
application/x-ndjson   one event per line, in a body that may have no end
"""

from functools import partial
from typing import cast

from quart import Blueprint, Response, request

from ryze.api import authorization as auth
from ryze.api.authorization import Scope, requires
from ryze.api.requests import read_body
from ryze.api.response_bodies import EventsPublished
from ryze.api.responses import json_response
from ryze.api.services import services
from ryze.api.streamed_body import StreamedBody
from ryze.events.event import Event
from ryze.ingest.bodies import decode_form_body, decode_json_body
from ryze.ingest.form import FORM
from ryze.ingest.ndjson_lines import NDJSON
from ryze.ingest.ndjson_stream import EventStream, StreamLimits
from ryze.records import Instance

__all__ = ["blueprint"]

blueprint = Blueprint("publish", __name__)


@blueprint.post("/api/events/publish/<name>")
@requires(Scope.INSTANCE, limit="publish")
async def publish(name: str) -> Response:
    """Publish events; the response follows the flush of the last one."""
    instance = auth.find_instance(name)
    if request.mimetype == NDJSON:
        return await _publish_ndjson(instance)
    events = [await _read_form()] if request.mimetype == FORM else await _read_json()
    clients = await services().publisher.publish(instance, events)
    return _published(len(events), clients)


def _published(count: int, clients: int) -> Response:
    return json_response(EventsPublished(published=count, clients=clients), 202)


async def _read_json() -> list[Event]:
    return await decode_json_body(await read_body("application/json"))


async def _read_form() -> Event:
    boundary = request.mimetype_params.get("boundary", "")
    return await decode_form_body(await read_body(FORM), boundary)


async def _publish_ndjson(instance: Instance) -> Response:
    settings = services().settings
    stream = EventStream(
        partial(services().streams.receive, cast(StreamedBody, request.body)),
        partial(auth.recheck_access, instance),
        partial(services().publisher.publish, instance),
        StreamLimits(settings.max_body_bytes, settings.body_timeout_seconds),
    )
    await stream.publish_all(request.headers.get("Content-Encoding", "identity"))
    return _published(stream.published, stream.clients)
