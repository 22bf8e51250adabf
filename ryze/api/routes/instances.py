"""Create, list and delete instances, and change their tokens (contract, section 5)."""

import msgspec
import structlog
from quart import Blueprint, Response, request

from ryze.api import authorization as auth
from ryze.api.authorization import Scope, requires
from ryze.api.request_bodies import (
    NewInstance,
    NewToken,
    WebsocketBlock,
    given_settings,
    given_websocket,
    is_well_formed_token,
)
from ryze.api.requests import read_json
from ryze.api.response_bodies import (
    InstanceCreated,
    InstanceDeleted,
    InstancesFound,
    InstanceSummary,
    InstanceToken,
    InstanceWithToken,
    TokenUpdated,
)
from ryze.api.responses import json_response
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
from ryze.records import DISABLED, Instance, InstanceSettings, WebsocketConfig
from ryze.store import QuotaExceeded, new_token

__all__ = ["blueprint"]

blueprint = Blueprint("instances", __name__)

_log = structlog.get_logger("ryze.http")


@blueprint.post("/api/instance/new")
@requires(Scope.ACCOUNT, limit="create")
async def new_instance() -> Response:
    """Create an instance of the account."""
    body = await read_json(NewInstance)
    settings = InstanceSettings(**given_settings(body))
    websocket = await _read_websocket_block(body.name)
    token = _checked_token(body.token)
    try:
        instance = await services().registry.create_instance(
            auth.account_id(), body.name, token, settings, websocket
        )
    except AlreadyExists as error:
        raise ApiError(_TAKEN[error.what]) from error
    except QuotaExceeded as error:
        raise ApiError(QUOTA_EXCEEDED) from error
    return json_response(
        InstanceCreated(
            instance=InstanceWithToken(name=instance.name, token=instance.token),
            data=InstanceToken(token=instance.token),
            websocket=instance.websocket or DISABLED,
        ),
        201,
    )


_TAKEN = {"name": INSTANCE_EXISTS, "token": TOKEN_IN_USE}


def _checked_token(given: str | None) -> str:
    """Return the token of a body without surrounding white space, or a new one if it is empty."""
    token = (given or "").strip()
    if not is_well_formed_token(token):
        raise ApiError(INVALID_BODY)
    return token or new_token()


async def _read_websocket_block(name: str) -> WebsocketConfig | None:
    """Read the body's ``websocket*`` fields; invalid ones do not prevent the creation."""
    try:
        block = msgspec.json.decode(await request.get_data(), type=WebsocketBlock)
    except msgspec.ValidationError as error:
        _log.warning("websocket block ignored", instance=name, error=str(error))
        return DISABLED
    return given_websocket(block)


@blueprint.get("/api/instance/list")
@requires(Scope.INSTANCE)
async def list_instances() -> Response:
    """List all instances of the account, or those named; a TokenInstance sees its own."""
    found = _select_instances()
    plural = "" if len(found) == 1 else "s"
    summaries = [
        InstanceSummary(
            name=instance.name,
            websocket=instance.websocket or DISABLED,
            settings=instance.settings,
        )
        for instance in found
    ]
    message = f"{len(found)} Instance{plural} found"
    return json_response(InstancesFound(message=message, instances=summaries))


def _select_instances() -> list[Instance]:
    if own := auth.own_instance():
        return [own]
    registry = services().registry
    names = [
        name for part in request.args.get("instanceName", "").split(",") if (name := part.strip())
    ]
    if not names:
        return registry.instances(auth.account_id())
    if len(names) == 1:
        return [auth.find_instance(names[0])]
    candidates = (registry.find(auth.account_id(), name) for name in dict.fromkeys(names))
    return [instance for instance in candidates if instance is not None]


@blueprint.delete("/api/instance/delete/<name>")
@requires(Scope.ACCOUNT)
async def delete_instance(name: str) -> Response:
    """Delete an instance and its configuration; its connections end."""
    if not await services().registry.delete_instance(auth.find_instance(name)):
        raise ApiError(INSTANCE_NOT_FOUND)
    return json_response(InstanceDeleted())


@blueprint.post("/api/instance/token/<name>")
@requires(Scope.ACCOUNT)
async def change_token(name: str) -> Response:
    """Give an instance another token; connections opened with the old one end."""
    instance = auth.find_instance(name)
    # The body is optional: none at all means an empty object.
    has_body = request.content_length or "Transfer-Encoding" in request.headers
    body = await read_json(NewToken) if has_body else NewToken()
    try:
        renewed = await services().registry.change_token(instance, _checked_token(body.token))
    except AlreadyExists as error:
        raise ApiError(_TAKEN[error.what]) from error
    if renewed is None:
        raise ApiError(INSTANCE_NOT_FOUND)
    return json_response(
        TokenUpdated(
            instance=InstanceWithToken(name=renewed.name, token=renewed.token),
            data=InstanceToken(token=renewed.token),
        )
    )
