"""Values that the store keeps and the rest of the server works with: frozen, no rows, no SQL.

`WebsocketConfig` and `InstanceSettings` are also the JSON objects of the API's responses (in camel
case), and the requests' bodies are derived from their fields. A new setting is a field here and a
column in the store, nothing else.
"""

from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from ryze.events.event import EVENT_TYPES

__all__ = ["DISABLED", "Account", "Instance", "InstanceSettings", "WebsocketConfig"]

# To type checkers a plain string, as the database and the hub use it.
_EventName = Annotated[str, Meta(extra_json_schema={"enum": list(EVENT_TYPES)})]


class WebsocketConfig(msgspec.Struct, frozen=True, rename="camel"):
    """The WebSocket configuration of an instance."""

    # Subscribers may connect and receive events.
    enabled: bool
    events: Annotated[
        tuple[_EventName, ...], Meta(description="In the order sent; empty = all.")
    ] = ()
    # Events carry their ``media.base64``.
    media_base64: bool = False


#: What remains of a configuration that is switched off.
DISABLED = WebsocketConfig(enabled=False)


class InstanceSettings(msgspec.Struct, frozen=True, rename="camel"):
    """The seven settings of an instance, with the contract's defaults."""

    auto_reject_calls: bool = False
    call_reject_message: str = ""
    ignore_group_messages: bool = False
    keep_online_status: bool = False
    auto_read_messages: bool = False
    disable_history_sync: bool = True
    ignore_status: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant; its token is known only by its hash.

    Attributes:
        max_instances: its quota; None means no limit.
    """

    id: int
    name: str
    token_hash: str = field(repr=False)
    max_instances: int | None


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of an account, with its token in the clear.

    Attributes:
        token: goes into frames and responses, never into a log: the repr leaves it out.
        websocket: None when it was never configured.
    """

    id: int
    account_id: int
    name: str
    token: str = field(repr=False)
    token_hash: str = field(repr=False)
    settings: InstanceSettings
    websocket: WebsocketConfig | None
