"""What the store keeps and the rest works with: frozen values, no rows, no SQL."""

from dataclasses import dataclass, field

__all__ = ["DISABLED", "Account", "Instance", "InstanceSettings", "WebsocketConfig"]


@dataclass(frozen=True, slots=True)
class WebsocketConfig:
    """Whether and how an instance's events reach its WebSocket clients.

    Attributes:
        enabled: clients may connect and receive events.
        events: the event names wanted, in the order they were sent; empty means all.
        media_base64: events carry their ``media.base64``.
    """

    enabled: bool
    events: tuple[str, ...] = ()
    media_base64: bool = False


#: What remains of a configuration that is switched off.
DISABLED = WebsocketConfig(enabled=False)


@dataclass(frozen=True, slots=True)
class InstanceSettings:
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
        token: goes into frames and answers, never into a log: the repr leaves it out.
        websocket: None when it was never configured.
    """

    id: int
    account_id: int
    name: str
    token: str = field(repr=False)
    token_hash: str = field(repr=False)
    settings: InstanceSettings
    websocket: WebsocketConfig | None
