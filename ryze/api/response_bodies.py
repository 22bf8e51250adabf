"""Response bodies of all routes, as types (contract, sections 1 to 6).

Handlers return these structs, and the OpenAPI document is made from them. Fields are encoded in the
order in which they stand here, those of the base first. A default is the only value of its field.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from ryze.records import InstanceSettings, WebsocketConfig

__all__ = [
    "Body",
    "Connection",
    "DeletedInstance",
    "ErrorDetail",
    "ErrorResponse",
    "EventsPublished",
    "Health",
    "HealthChecks",
    "InstanceCreated",
    "InstanceDeleted",
    "InstanceSummary",
    "InstanceToken",
    "InstanceWithToken",
    "InstancesFound",
    "SettingsRetrieved",
    "SettingsUpdated",
    "Success",
    "TokenUpdated",
    "WebsocketConfigured",
    "WebsocketRetrieved",
]

# Reported by the WhatsApp side; as long as it reports nothing, this is all that is known.
_Status = Literal["disconnected"]


class Body(msgspec.Struct, rename="camel"):
    """Base of all response bodies; an instance also serves as the example in the document."""


class Success(Body, kw_only=True):
    """Base of all responses of success: ``success``, ``message``, and the resource."""

    success: Annotated[bool, Meta(extra_json_schema={"const": True})] = True
    message: str


class ErrorDetail(Body, kw_only=True):
    """The reason of an error, in one sentence for people."""

    message: str


class ErrorResponse(Body, kw_only=True):
    """The response of every request that fails, on every route."""

    success: Annotated[bool, Meta(extra_json_schema={"const": False})] = False
    error: ErrorDetail


class WebsocketConfigured(Success, kw_only=True):
    """The configuration that was saved."""

    message: Literal["WebSocket configured successfully"] = "WebSocket configured successfully"
    websocket: WebsocketConfig


class WebsocketRetrieved(Success, kw_only=True):
    """The saved configuration."""

    message: Literal["WebSocket configuration retrieved"] = "WebSocket configuration retrieved"
    websocket: WebsocketConfig


class InstanceWithToken(Body, kw_only=True):
    """An instance with its token."""

    name: str
    status: _Status = "disconnected"
    token: str


class InstanceToken(Body, kw_only=True):
    """The same token again, where some clients look for it."""

    token: str


class InstanceCreated(Success, kw_only=True):
    """The new instance and its TokenInstance."""

    message: Literal["Instance created successfully"] = "Instance created successfully"
    instance: InstanceWithToken
    data: InstanceToken
    websocket: WebsocketConfig


class TokenUpdated(Success, kw_only=True):
    """The instance and its new TokenInstance."""

    message: Literal["Token updated successfully"] = "Token updated successfully"
    instance: InstanceWithToken
    data: InstanceToken


class Connection(Body, kw_only=True):
    """The state of the WhatsApp side."""

    state: _Status = "disconnected"
    number_jid: str | None = None
    presence_status: str | None = None
    display_status: str | None = None


class SettingsUpdated(Success, kw_only=True):
    """All settings after the update."""

    message: Literal["Settings updated successfully"] = "Settings updated successfully"
    settings: InstanceSettings


class SettingsRetrieved(Success, kw_only=True):
    """All settings."""

    message: Literal["Settings retrieved successfully"] = "Settings retrieved successfully"
    settings: InstanceSettings


class InstanceSummary(Body, kw_only=True):
    """One instance, without its token."""

    name: str
    status: _Status = "disconnected"
    connection: Connection = field(default_factory=Connection)
    websocket: WebsocketConfig
    webhook: None = None
    settings: InstanceSettings


class InstancesFound(Success, kw_only=True):
    """Instances, oldest first."""

    message: Annotated[str, Meta(pattern="^(1 Instance|[0-9]+ Instances) found$")]
    instances: list[InstanceSummary]


class DeletedInstance(Body, kw_only=True):
    """The fate of the instance."""

    status: Literal["deleted"] = "deleted"


class InstanceDeleted(Success, kw_only=True):
    """The instance was deleted."""

    message: Literal["Instance deleted"] = "Instance deleted"
    instance: DeletedInstance = field(default_factory=DeletedInstance)


class EventsPublished(Success, kw_only=True):
    """The events were published."""

    message: Literal["Event published"] = "Event published"
    published: Annotated[int, Meta(ge=0, description="Events accepted.")]
    clients: Annotated[
        int, Meta(ge=0, description="Subscribers that the last event was handed to.")
    ]


class HealthChecks(Body, kw_only=True):
    """The parts of the server that are checked."""

    database: Literal["ok", "failed"]
    gateway: Literal["ok", "draining"]


class Health(Body, kw_only=True):
    """The health of the server."""

    status: Literal["ok", "degraded"]
    service: Literal["ryze"] = "ryze"
    uptime: Annotated[float, Meta(ge=0, description="Seconds.")]
    timestamp: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
    checks: HealthChecks
