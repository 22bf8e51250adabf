"""Publish: how events come in over HTTP (contract, section 6)."""

import trio
from quart import Blueprint, Response

from ryze.api import auth
from ryze.api.auth import Scope, access
from ryze.api.responses import INVALID_BODY, read_body, success
from ryze.api.services import services
from ryze.errors import ApiError, InvalidEvent
from ryze.events import Event, decode_events

__all__ = ["blueprint"]

blueprint = Blueprint("publish", __name__)

# From here on events are decoded in a thread: about two milliseconds' worth of small ones.
_LARGE_BYTES = 256 * 1024


@blueprint.post("/api/events/publish/<name>")
@access(Scope.INSTANCE, limit="publish")
async def publish(name: str) -> Response:
    """Publish one event or an array of them; answered after the flush that handed them out."""
    instance = auth.instance(name)
    events = await _read_events()
    clients = await services().hub.publish_all(instance.id, events)
    return success("Event published", 202, published=len(events), clients=clients)


async def _read_events() -> list[Event]:
    body = await read_body()
    try:
        if len(body) > _LARGE_BYTES:
            # Or everybody else would wait for as long as it takes.
            return await trio.to_thread.run_sync(decode_events, body)
        return decode_events(body)
    except InvalidEvent as error:
        raise ApiError(400, INVALID_BODY) from error
