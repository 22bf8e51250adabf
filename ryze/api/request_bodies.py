"""Request bodies that routes read, as types (contract, sections 2, 3 and 5).

The fields that every body shares with a record come from that record: `SettingsUpdate` has the
fields of `InstanceSettings`, and `WebsocketBlock` those of `SetWebsocket`, all of them optional.
Null counts as absent; unknown fields are ignored.
"""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import asdict, fields

from ryze.events.event import EventType
from ryze.records import DISABLED, InstanceSettings, WebsocketConfig

__all__ = [
    "INSTANCE_NAME",
    "NewInstance",
    "NewToken",
    "SetWebsocket",
    "SettingsUpdate",
    "WebsocketBlock",
    "given_settings",
    "given_websocket",
    "is_well_formed_token",
]

#: An instance's name, as a regular expression.
INSTANCE_NAME = "[A-Za-z0-9_-]{1,100}"

_InstanceName = Annotated[str, Meta(pattern=rf"\A{INSTANCE_NAME}\Z")]

# Visible ASCII, because a token must fit into a header.
_token = re.compile(r"[\x21-\x7e]{0,255}")

_Token = Annotated[
    str,
    Meta(
        description="The TokenInstance; made by the server if empty or absent.",
        # Not checked by msgspec, because surrounding white space is stripped first.
        extra_json_schema={"pattern": f"^{_token.pattern}$"},
    ),
]


class NewToken(msgspec.Struct):
    """The new token of an instance."""

    token: _Token | None = None


class SetWebsocket(msgspec.Struct, rename="camel"):
    """A WebSocket configuration."""

    enabled: Annotated[bool, Meta(description="Subscribers may connect, and receive events.")]
    events: Annotated[
        list[EventType] | None, Meta(description="The types wanted; absent or empty: all six.")
    ] = None
    media_base64: Annotated[bool | None, Meta(description="Events keep their `media.base64`.")] = (
        None
    )

    def config(self) -> WebsocketConfig:
        """Return the record: each event type once, and nothing but the switch if disabled."""
        if not self.enabled:
            return DISABLED
        return WebsocketConfig(
            True, tuple(dict.fromkeys(self.events or ())), bool(self.media_base64)
        )


def _all_optional(
    name: str, doc: str, source: type[msgspec.Struct], prefix: str = ""
) -> type[msgspec.Struct]:
    """Make a struct of the fields of another one, each of which may be absent or null."""
    members: list[tuple[str, Any, None]] = [
        (prefix + field.name, field.type | None, None) for field in fields(source)
    ]
    return msgspec.defstruct(
        name, members, rename="camel", kw_only=True, namespace={"__doc__": doc}
    )


SettingsUpdate = _all_optional("SettingsUpdate", "Settings of an instance.", InstanceSettings)


# Derived from SettingsUpdate, so that a body is decoded once for both; types are not checked
# through a class that is made at run time.
class NewInstance(SettingsUpdate):  # type: ignore[misc, valid-type]
    """The name, token and settings of a new instance."""

    name: _InstanceName
    token: _Token | None = None


_PREFIX = "websocket_"

WebsocketBlock = _all_optional(
    "WebsocketBlock", "The WebSocket configuration of a new instance.", SetWebsocket, _PREFIX
)


def given_settings(update: msgspec.Struct) -> dict[str, Any]:
    """Return the settings that a `SettingsUpdate` holds, by the names of `InstanceSettings`."""
    values = {field.name: getattr(update, field.name) for field in fields(InstanceSettings)}
    return {name: value for name, value in values.items() if value is not None}


def given_websocket(block: msgspec.Struct) -> WebsocketConfig | None:
    """Return the configuration that a `WebsocketBlock` holds; None if all of it is absent."""
    given = {name.removeprefix(_PREFIX): value for name, value in asdict(block).items()}
    if all(value is None for value in given.values()):
        return None
    return SetWebsocket(**given).config()


def is_well_formed_token(token: str) -> bool:
    """Can the token be sent in a header?"""
    return _token.fullmatch(token) is not None
