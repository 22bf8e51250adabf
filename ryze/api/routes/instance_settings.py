"""The seven settings of an instance (contract, section 5)."""

from quart import Blueprint, Response

from ryze.api import authorization as auth
from ryze.api.authorization import Scope, requires
from ryze.api.request_bodies import SettingsUpdate, given_settings
from ryze.api.requests import read_json
from ryze.api.response_bodies import SettingsRetrieved, SettingsUpdated
from ryze.api.responses import json_response
from ryze.api.services import services
from ryze.errors import INSTANCE_NOT_FOUND, NO_SETTING_GIVEN, ApiError

__all__ = ["blueprint"]

blueprint = Blueprint("instance_settings", __name__)


@blueprint.post("/api/instance/settings/<name>")
@requires(Scope.INSTANCE)
async def change_settings(name: str) -> Response:
    """Change some settings of an instance; absent ones stay as they are."""
    instance = auth.find_instance(name)
    changes = given_settings(await read_json(SettingsUpdate))
    if not changes:
        raise ApiError(NO_SETTING_GIVEN)
    settings = await services().registry.change_settings(instance, changes)
    if settings is None:
        raise ApiError(INSTANCE_NOT_FOUND)
    return json_response(SettingsUpdated(settings=settings))


@blueprint.get("/api/instance/getSettings/<name>")
@requires(Scope.INSTANCE)
async def get_settings(name: str) -> Response:
    """Get all settings of an instance."""
    return json_response(SettingsRetrieved(settings=auth.find_instance(name).settings))
