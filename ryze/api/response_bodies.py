"""The bodies that routes answer with (contract, sections 1 to 6).

Handlers write them with `ryze.api.responses.success`; these types only describe the result. No
field may be missing, and none be there that is not described.
"""

from typing import Annotated, Literal

import msgspec

from ryze.events.event import EventType

__all__ = [
    "Check",
    "Connection",
    "Created",
    "Creation",
    "Deleted",
    "Deletion",
    "Described",
    "Failure",
    "Fault",
    "Health",
    "InstanceList",
    "ListedInstance",
    "Publication",
    "SettingValues",
    "SettingsChanged",
    "SettingsRead",
    "Success",
    "TokenChanged",
    "TokenOnly",
    "Websocket",
    "WebsocketRead",
    "WebsocketSet",
]

_Always = Annotated[bool, msgspec.Meta(extra_json_schema={"const": True})]
_Never = Annotated[bool, msgspec.Meta(extra_json_schema={"const": False})]


class Described(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Base of them all; an instance is an example."""


class Success(Described):
    """Base of the answers of success: ``success``, ``message``, and the resource."""

    success: _Always
    message: str


class Fault(Described):
    """What went wrong, in one sentence for people."""

    message: str


class Failure(Described):
    """The answer of every request that fails, on every route."""

    success: _Never
    error: Fault


class Websocket(Described):
    """The WebSocket configuration of an instance."""

    enabled: bool
    events: Annotated[list[EventType], msgspec.Meta(description="In the order sent; empty = all.")]
    media_base64: bool


class WebsocketSet(Success):
    """What was saved."""

    message: Literal["WebSocket configured successfully"]
    websocket: Websocket


class WebsocketRead(Success):
    """What is saved."""

    message: Literal["WebSocket configuration retrieved"]
    websocket: Websocket


class Created(Described):
    """An instance with its token."""

    name: str
    status: Literal["disconnected"]
    token: str


class TokenOnly(Described):
    """The same token once more, where some clients look for it."""

    token: str


class Creation(Success):
    """The new instance, and its TokenInstance."""

    message: Literal["Instance created successfully"]
    instance: Created
    data: TokenOnly
    websocket: Websocket


class TokenChanged(Success):
    """The instance, and its TokenInstance from now on."""

    message: Literal["Token updated successfully"]
    instance: Created
    data: TokenOnly


class Connection(Described):
    """What is known of the WhatsApp side."""

    state: Literal["disconnected"]
    number_jid: str | None
    presence_status: str | None
    display_status: str | None


class SettingValues(Described):
    """The seven settings of an instance."""

    auto_reject_calls: bool
    call_reject_message: str
    ignore_group_messages: bool
    keep_online_status: bool
    auto_read_messages: bool
    disable_history_sync: bool
    ignore_status: bool


class SettingsChanged(Success):
    """All settings as they are now."""

    message: Literal["Settings updated successfully"]
    settings: SettingValues


class SettingsRead(Success):
    """All settings."""

    message: Literal["Settings retrieved successfully"]
    settings: SettingValues


class ListedInstance(Described):
    """One instance, without its token."""

    name: str
    status: Literal["disconnected"]
    connection: Connection
    websocket: Websocket
    webhook: None
    settings: SettingValues


class InstanceList(Success):
    """Instances, oldest first."""

    message: Annotated[str, msgspec.Meta(pattern="^(1 Instance|[0-9]+ Instances) found$")]
    instances: list[ListedInstance]


class Deleted(Described):
    """What became of it."""

    status: Literal["deleted"]


class Deletion(Success):
    """The instance is gone."""

    message: Literal["Instance deleted"]
    instance: Deleted


class Publication(Success):
    """The events were handed out."""

    message: Literal["Event published"]
    published: Annotated[int, msgspec.Meta(ge=0, description="Events taken.")]
    clients: Annotated[
        int, msgspec.Meta(ge=0, description="Connections that the last event was handed to.")
    ]


class Check(Described):
    """What was looked at."""

    database: Literal["ok", "failed"]
    gateway: Literal["ok", "draining"]


class Health(Described):
    """How the server is."""

    status: Literal["ok", "degraded"]
    service: Literal["ryze"]
    uptime: Annotated[float, msgspec.Meta(ge=0, description="Seconds.")]
    timestamp: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
    checks: Check
