"""Chats whose events an instance drops: ``ignoreGroupMessages`` and ``ignoreStatus``.

Two event types belong to a chat: ``message.exchange``, and ``message.status``, the receipts of
such messages. The chat stands in ``data.chat`` or ``data.message.chat``, depending on the producer,
and the end of its ``jid`` tells its kind:

    ignoreGroupMessages     ``...@g.us``            a group
    ignoreStatus            ``status@broadcast``    the status updates of contacts

All other event types pass: a change of a group's members (``group.flow``) or a call in a group
(``call.update``) is no message of that group.

`data` is not decoded into objects for this: one pass reads the members on the way to the jid and
skips the rest. Searching for the suffix first would cost as much.
"""

from typing import Protocol

import msgspec

from ryze.events.event import Event
from ryze.events.surrogates import mask_surrogates

__all__ = ["ChatSettings", "ignored_chats", "is_of_chat"]

_EVENTS_OF_CHATS = ("message.exchange", "message.status")

_GROUP = "@g.us"
_STATUS = "status@broadcast"


class ChatSettings(Protocol):
    """The two settings of an instance that concern chats."""

    @property
    def ignore_group_messages(self) -> bool:
        """Drop the messages of groups."""

    @property
    def ignore_status(self) -> bool:
        """Drop the status updates of contacts."""


# Producers are free: a `chat` that is null or a string must not hide the other one. Arrays are
# left out, as they would be built only to be thrown away.
_Scalar = str | int | float | bool | None


class _Chat(msgspec.Struct):
    jid: _Scalar = None


class _Message(msgspec.Struct):
    chat: _Chat | _Scalar = None


class _Data(msgspec.Struct):
    chat: _Chat | _Scalar = None
    message: _Message | _Scalar = None


_decoder = msgspec.json.Decoder(_Data)


def ignored_chats(settings: ChatSettings) -> tuple[str, ...]:
    """Return the suffixes of the jids of all chats that the settings ignore."""
    switches = ((settings.ignore_group_messages, _GROUP), (settings.ignore_status, _STATUS))
    return tuple(suffix for is_on, suffix in switches if is_on)


def is_of_chat(event: Event, suffixes: tuple[str, ...]) -> bool:
    """Does the event belong to a chat whose jid has one of these suffixes?"""
    if event.type not in _EVENTS_OF_CHATS:
        return False
    data = _decode(event.data)
    if data is None:
        # Of a shape that no producer sends: it passes.
        return False
    inner = data.message.chat if isinstance(data.message, _Message) else None
    return _has_suffix(data.chat, suffixes) or _has_suffix(inner, suffixes)


def _decode(text: bytes) -> _Data | None:
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        masked = mask_surrogates(text)
        return _decode(masked.body) if masked else None


def _has_suffix(chat: _Chat | _Scalar, suffixes: tuple[str, ...]) -> bool:
    return isinstance(chat, _Chat) and isinstance(chat.jid, str) and chat.jid.endswith(suffixes)
