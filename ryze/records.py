"""Records: accounts, instances and their configuration as frozen values, without SQL.

`WebsocketConfig` and `InstanceSettings` are also the JSON objects of the API's responses (in camel
case), and request bodies are derived from their fields: a new setting is one field here and one
column in the store.
"""

from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["DISABLED", "Account", "Instance", "InstanceSettings", "WebsocketConfig"]


class WebsocketConfig(msgspec.Struct, frozen=True, rename="camel"):
    """WebSocket configuration of an instance."""

    # Subscribers may connect and receive events.
    enabled: bool
    events: Annotated[tuple[str, ...], Meta(description="In the order sent; empty = all.")] = ()
    # Events carry their ``media.base64``.
    media_base64: bool = False


#: The configuration after it was switched off: nothing of the rest is kept.
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
    """A tenant; only the hash of its token is known.

    Args:
        max_instances: the instance quota; None = no limit.
    """

    id: int
    name: str
    token_hash: str = field(repr=False)
    max_instances: int | None


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of an account, with its token in plain text.

    Args:
        token: for frames and responses, never for logs: the repr leaves it out.
        websocket: None if it was never configured.
    """

    id: int
    account_id: int
    name: str
    token: str = field(repr=False)
    token_hash: str = field(repr=False)
    settings: InstanceSettings
    websocket: WebsocketConfig | None
