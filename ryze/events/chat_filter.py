"""Chats that an instance does not want to hear of: ``ignoreGroupMessages``, ``ignoreStatus``.

Theory. Two types of event belong to a chat: ``message.exchange``, and ``message.status``, the
receipts of such messages. The chat stands in ``data.chat`` or ``data.message.chat``, depending on
the producer, and its ``jid`` tells what it is:

    ignoreGroupMessages     ``...@g.us``            a group
    ignoreStatus            ``status@broadcast``    the status updates of contacts

Nothing else is looked at: who was added to a group (``group.flow``) and who calls in one
(``call.update``) are no messages of it.

`data` is not decoded for this: one pass reads the members on the way to the jid and skips the
rest. A search for the few letters first would cost as much.
"""

import msgspec

from ryze.events.event import Event
from ryze.events.surrogates import hide
from ryze.records import InstanceSettings

__all__ = ["ignored_chats", "is_of_chat"]

_EVENTS_OF_CHATS = ("message.exchange", "message.status")

_GROUP = "@g.us"
_STATUS = "status@broadcast"

# Producers are free: a `chat` that is null or a text must not hide the other one. Of lists and
# the like there is nothing here, as they would be built only to be thrown away.
_Scalar = str | int | float | bool | None


class _Chat(msgspec.Struct):
    jid: _Scalar = None


class _Message(msgspec.Struct):
    chat: _Chat | _Scalar = None


class _Data(msgspec.Struct):
    chat: _Chat | _Scalar = None
    message: _Message | _Scalar = None


_decoder = msgspec.json.Decoder(_Data)


def ignored_chats(settings: InstanceSettings) -> tuple[str, ...]:
    """How the jids of the chats end that these settings ignore; empty if they ignore none."""
    switches = ((settings.ignore_group_messages, _GROUP), (settings.ignore_status, _STATUS))
    return tuple(ending for is_on, ending in switches if is_on)


def is_of_chat(event: Event, endings: tuple[str, ...]) -> bool:
    """Does this event belong to a chat whose jid ends like one of these?"""
    if event.type not in _EVENTS_OF_CHATS:
        return False
    data = _decode(event.data)
    if data is None:
        # In a shape that nobody sends: it passes.
        return False
    inner = data.message.chat if isinstance(data.message, _Message) else None
    return _ends(data.chat, endings) or _ends(inner, endings)


def _decode(text: bytes) -> _Data | None:
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        hidden = hide(text)
        return _decode(hidden.body) if hidden else None


def _ends(chat: _Chat | _Scalar, endings: tuple[str, ...]) -> bool:
    return isinstance(chat, _Chat) and isinstance(chat.jid, str) and chat.jid.endswith(endings)
