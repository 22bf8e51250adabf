"""The seven settings of an instance (contract, section 5)."""

from dataclasses import fields

import msgspec
from quart import Blueprint, Response

from ryze.api import authorization as auth
from ryze.api.authorization import Scope, access
from ryze.api.responses import read_json, success
from ryze.api.services import services
from ryze.errors import INSTANCE_NOT_FOUND, NO_SETTING_GIVEN, ApiError
from ryze.records import InstanceSettings

__all__ = ["GivenSettings", "as_json", "blueprint"]

blueprint = Blueprint("instance_settings", __name__)


class GivenSettings(msgspec.Struct, rename="camel", kw_only=True):
    """Settings in a body, as many as somebody cares to give; null counts as absent."""

    auto_reject_calls: bool | None = None
    call_reject_message: str | None = None
    ignore_group_messages: bool | None = None
    keep_online_status: bool | None = None
    auto_read_messages: bool | None = None
    disable_history_sync: bool | None = None
    ignore_status: bool | None = None

    def given(self) -> dict[str, object]:
        """Those that were given, by the names of `InstanceSettings`."""
        values = {field.name: getattr(self, field.name) for field in fields(InstanceSettings)}
        return {name: value for name, value in values.items() if value is not None}


def as_json(settings: InstanceSettings) -> dict[str, object]:
    """The ``settings`` object of answers."""
    return {
        "autoRejectCalls": settings.auto_reject_calls,
        "callRejectMessage": settings.call_reject_message,
        "ignoreGroupMessages": settings.ignore_group_messages,
        "keepOnlineStatus": settings.keep_online_status,
        "autoReadMessages": settings.auto_read_messages,
        "disableHistorySync": settings.disable_history_sync,
        "ignoreStatus": settings.ignore_status,
    }


@blueprint.post("/api/instance/settings/<name>")
@access(Scope.INSTANCE)
async def change_settings(name: str) -> Response:
    """Change some settings of an instance; those that are not given stay."""
    instance = auth.instance(name)
    changes = (await read_json(GivenSettings)).given()
    if not changes:
        raise ApiError(NO_SETTING_GIVEN)
    settings = await services().registry.change_settings(instance, changes)
    if settings is None:
        raise ApiError(INSTANCE_NOT_FOUND)
    return success("Settings updated successfully", settings=as_json(settings))


@blueprint.get("/api/instance/getSettings/<name>")
@access(Scope.INSTANCE)
async def get_settings(name: str) -> Response:
    """All settings of an instance."""
    settings = auth.instance(name).settings
    return success("Settings retrieved successfully", settings=as_json(settings))
