"""Create, list and delete instances, and change their tokens (contract, section 5)."""

import re
from dataclasses import replace
from typing import Annotated

import msgspec
import structlog
from quart import Blueprint, Response, request

from ryze.api import authorization as auth
from ryze.api.authorization import Scope, access
from ryze.api.responses import read_json, success
from ryze.api.routes.instance_settings import GivenSettings
from ryze.api.routes.instance_settings import as_json as settings_json
from ryze.api.routes.websocket_config import SetWebsocket, as_json
from ryze.api.services import services
from ryze.errors import (
    INSTANCE_EXISTS,
    INSTANCE_NOT_FOUND,
    INVALID_BODY,
    QUOTA_EXCEEDED,
    TOKEN_IN_USE,
    AlreadyExists,
    ApiError,
)
from ryze.events.event import EventType
from ryze.records import DISABLED, Instance, InstanceSettings, WebsocketConfig
from ryze.store import QuotaExceeded, new_token

__all__ = ["INSTANCE_NAME", "NewInstance", "NewToken", "WebsocketBlock", "blueprint"]

blueprint = Blueprint("instances", __name__)

_log = structlog.get_logger("ryze.http")

# What the WhatsApp side would report; until a producer is connected, nothing is known of it.
_STATUS = "disconnected"

#: What an instance may be called, as a regular expression.
INSTANCE_NAME = "[A-Za-z0-9_-]{1,100}"

_InstanceName = Annotated[str, msgspec.Meta(pattern=rf"\A{INSTANCE_NAME}\Z")]

# It must be possible to send it as a header.
_sendable = re.compile(r"[\x21-\x7e]{0,255}")

_Token = Annotated[
    str,
    msgspec.Meta(
        description="Its TokenInstance; made by the server if empty or not given.",
        # Not checked by msgspec: white space around it is cut off first.
        extra_json_schema={"pattern": f"^{_sendable.pattern}$"},
    ),
]


class NewInstance(GivenSettings, rename="camel"):
    """The body of a creation, without its blocks; null counts as absent."""

    name: _InstanceName
    token: _Token | None = None

    def settings(self) -> InstanceSettings:
        """Its settings, with defaults for those that were not given."""
        return replace(InstanceSettings(), **self.given())  # type: ignore[arg-type]


class NewToken(msgspec.Struct):
    """The body of a change of token; null counts as absent."""

    token: _Token | None = None


class WebsocketBlock(msgspec.Struct, rename="camel"):
    """Set Websocket as a part of a creation; null counts as absent."""

    websocket_enabled: bool | None = None
    websocket_events: list[EventType] | None = None
    websocket_media_base64: bool | None = None

    def config(self) -> WebsocketConfig | None:
        """What is saved; None where nothing was given."""
        given = (self.websocket_enabled, self.websocket_events, self.websocket_media_base64)
        if given == (None, None, None):
            return None
        return SetWebsocket(bool(given[0]), *given[1:]).config()


@blueprint.post("/api/instance/new")
@access(Scope.ACCOUNT, limit="create")
async def new_instance() -> Response:
    """Create an instance of the account."""
    body = await read_json(NewInstance)
    websocket = await _websocket_block(body.name)
    token = _token(body.token)
    try:
        instance = await services().registry.create_instance(
            auth.account_id(), body.name, token, body.settings(), websocket
        )
    except AlreadyExists as error:
        raise ApiError(_TAKEN[error.what]) from error
    except QuotaExceeded as error:
        raise ApiError(QUOTA_EXCEEDED) from error
    return success(
        "Instance created successfully",
        201,
        **_with_token(instance),
        websocket=as_json(instance.websocket or DISABLED),
    )


_TAKEN = {"name": INSTANCE_EXISTS, "token": TOKEN_IN_USE}


def _token(given: str | None) -> str:
    """The token that a body asks for, or one made up."""
    token = (given or "").strip()
    if not _sendable.fullmatch(token):
        raise ApiError(INVALID_BODY)
    return token or new_token()


def _with_token(instance: Instance) -> dict[str, object]:
    """An answer that shows the token: clients look for it in either place."""
    token = instance.token
    return {
        "instance": {"name": instance.name, "status": _STATUS, "token": token},
        "data": {"token": token},
    }


async def _websocket_block(name: str) -> WebsocketConfig | None:
    """The body's ``websocket*`` fields; wrong ones do not stop the creation."""
    try:
        return msgspec.json.decode(await request.get_data(), type=WebsocketBlock).config()
    except msgspec.ValidationError as error:
        _log.warning("websocket block ignored", instance=name, error=str(error))
        return DISABLED


@blueprint.get("/api/instance/list")
@access(Scope.INSTANCE)
async def list_instances() -> Response:
    """All instances of the account, or those named; a TokenInstance sees its own."""
    found = _listed()
    plural = "" if len(found) == 1 else "s"
    return success(
        f"{len(found)} Instance{plural} found",
        instances=[_instance_json(instance) for instance in found],
    )


def _listed() -> list[Instance]:
    if own := auth.own_instance():
        return [own]
    registry = services().registry
    names = [
        name for part in request.args.get("instanceName", "").split(",") if (name := part.strip())
    ]
    if not names:
        return registry.instances(auth.account_id())
    if len(names) == 1:
        return [auth.instance(names[0])]
    candidates = (registry.find(auth.account_id(), name) for name in dict.fromkeys(names))
    return [instance for instance in candidates if instance is not None]


def _instance_json(instance: Instance) -> dict[str, object]:
    return {
        "name": instance.name,
        "status": _STATUS,
        "connection": {
            "state": _STATUS,
            "numberJid": None,
            "presenceStatus": None,
            "displayStatus": None,
        },
        "websocket": as_json(instance.websocket or DISABLED),
        "webhook": None,
        "settings": settings_json(instance.settings),
    }


@blueprint.delete("/api/instance/delete/<name>")
@access(Scope.ACCOUNT)
async def delete_instance(name: str) -> Response:
    """Delete an instance and everything of it; its connections end."""
    if not await services().registry.delete_instance(auth.instance(name)):
        raise ApiError(INSTANCE_NOT_FOUND)
    return success("Instance deleted", instance={"status": "deleted"})


@blueprint.post("/api/instance/token/<name>")
@access(Scope.ACCOUNT)
async def change_token(name: str) -> Response:
    """Give an instance another token; what the old one opened ends."""
    instance = auth.instance(name)
    # Nothing need be said: no body at all is as good as an empty object.
    has_body = request.content_length or "Transfer-Encoding" in request.headers
    body = await read_json(NewToken) if has_body else NewToken()
    try:
        renewed = await services().registry.change_token(instance, _token(body.token))
    except AlreadyExists as error:
        raise ApiError(_TAKEN[error.what]) from error
    if renewed is None:
        raise ApiError(INSTANCE_NOT_FOUND)
    return success("Token updated successfully", 200, **_with_token(renewed))
