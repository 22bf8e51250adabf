"""Changes of accounts and instances, as values.

The registry announces each one once it is in the database and in memory, synchronously: a
follower has acted on it before anything else runs. So a token becomes void and its connections
end in one step (ARCHITECTURE.md, rule 14).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ryze.records import Instance

__all__ = [
    "AccountTokenRevoked",
    "Change",
    "Follower",
    "InstanceDeleted",
    "InstanceTokenChanged",
    "SettingsChanged",
    "WebsocketConfigured",
]


@dataclass(frozen=True, slots=True)
class WebsocketConfigured:
    """Set Websocket has changed `instance`, which is given as it is now."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """Some of the seven settings of `instance` have changed; it is given as it is now."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class InstanceTokenChanged:
    """`instance`, given as it is now, has a new token.

    Args:
        instance: with the new token.
        old_token_hash: hash of the token that is void.
    """

    instance: Instance
    old_token_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InstanceDeleted:
    """`instance` no longer exists."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class AccountTokenRevoked:
    """A TokenAccount is void: rotated, or its account deleted."""

    token_hash: str = field(repr=False)


Change = (
    WebsocketConfigured
    | SettingsChanged
    | InstanceTokenChanged
    | InstanceDeleted
    | AccountTokenRevoked
)

# Acts on a change at once, without waiting; must not raise.
Follower = Callable[[Change], None]
