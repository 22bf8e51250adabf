"""Set Websocket and Check Websocket (contract, sections 2 and 3)."""

from typing import Annotated

import msgspec
from msgspec import Meta
from quart import Blueprint, Response

from ryze.api import authorization as auth
from ryze.api.authorization import Scope, access
from ryze.api.responses import read_json, success
from ryze.api.services import services
from ryze.errors import (
    CONFIG_READ_FAILED,
    INSTANCE_NOT_FOUND,
    NOT_CONFIGURED,
    ApiError,
    StoreError,
)
from ryze.events.event import EventType
from ryze.records import DISABLED, WebsocketConfig

__all__ = ["SetWebsocket", "as_json", "blueprint"]

blueprint = Blueprint("websocket_config", __name__)


class SetWebsocket(msgspec.Struct, rename="camel"):
    """The body of Set Websocket; null for an optional field counts as absent."""

    enabled: Annotated[bool, Meta(description="Clients may connect, and get events.")]
    events: Annotated[
        list[EventType] | None, Meta(description="Those wanted; without it, or empty: all six.")
    ] = None
    media_base64: Annotated[bool | None, Meta(description="Events keep their `media.base64`.")] = (
        None
    )

    def config(self) -> WebsocketConfig:
        """What is saved: a repeated event is kept once, and nothing is kept of a disabled one."""
        if not self.enabled:
            return DISABLED
        return WebsocketConfig(
            True, tuple(dict.fromkeys(self.events or ())), bool(self.media_base64)
        )


def as_json(config: WebsocketConfig) -> dict[str, object]:
    """The ``websocket`` object of answers."""
    return {
        "enabled": config.enabled,
        "events": config.events,
        "mediaBase64": config.media_base64,
    }


@blueprint.post("/api/events/websocket/<name>")
@access(Scope.INSTANCE)
async def set_websocket(name: str) -> Response:
    """Turn the WebSocket of an instance on or off, and set its filter."""
    instance = auth.instance(name)
    config = (await read_json(SetWebsocket)).config()
    if not await services().registry.configure_websocket(instance, config):
        raise ApiError(INSTANCE_NOT_FOUND)
    return success("WebSocket configured successfully", websocket=as_json(config))


@blueprint.get("/api/events/getWebsocket/<name>")
@access(Scope.INSTANCE)
async def get_websocket(name: str) -> Response:
    """The WebSocket configuration of an instance, as the database has it."""
    instance = auth.instance(name)
    try:
        config = await services().registry.websocket_config(instance)
    except StoreError as error:
        raise ApiError(CONFIG_READ_FAILED) from error
    if config is None:
        raise ApiError(NOT_CONFIGURED)
    return success("WebSocket configuration retrieved", websocket=as_json(config))
