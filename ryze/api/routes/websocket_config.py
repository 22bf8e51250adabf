"""Set Websocket and Check Websocket (contract, sections 2 and 3)."""

from quart import Blueprint, Response

from ryze.api import authorization as auth
from ryze.api.authorization import Scope, requires
from ryze.api.request_bodies import SetWebsocket
from ryze.api.requests import read_json
from ryze.api.response_bodies import WebsocketConfigured, WebsocketRetrieved
from ryze.api.responses import json_response
from ryze.api.services import services
from ryze.errors import (
    CONFIG_READ_FAILED,
    INSTANCE_NOT_FOUND,
    NOT_CONFIGURED,
    ApiError,
    StoreError,
)

__all__ = ["blueprint"]

blueprint = Blueprint("websocket_config", __name__)


@blueprint.post("/api/events/websocket/<name>")
@requires(Scope.INSTANCE)
async def set_websocket(name: str) -> Response:
    """Turn the WebSocket of an instance on or off, and set its filter."""
    instance = auth.find_instance(name)
    config = (await read_json(SetWebsocket)).config()
    if not await services().registry.configure_websocket(instance, config):
        raise ApiError(INSTANCE_NOT_FOUND)
    return json_response(WebsocketConfigured(websocket=config))


@blueprint.get("/api/events/getWebsocket/<name>")
@requires(Scope.INSTANCE)
async def get_websocket(name: str) -> Response:
    """Get the WebSocket configuration of an instance from the database."""
    instance = auth.find_instance(name)
    try:
        config = await services().registry.websocket_config(instance)
    except StoreError as error:
        raise ApiError(CONFIG_READ_FAILED) from error
    if config is None:
        raise ApiError(NOT_CONFIGURED)
    return json_response(WebsocketRetrieved(websocket=config))
