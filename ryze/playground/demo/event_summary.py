"""Events in words, for people."""

from typing import Any

import msgspec

from ryze.events.event import Event

__all__ = ["describe"]


def describe(event: Event) -> str:
    """An event in a few words. Producers are free, so anything may be missing or different."""
    data = msgspec.json.decode(event.data)
    match event.type:
        case "message.exchange":
            return _describe_message(data)
        case "message.status":
            ids = data.get("messageIds")
            count = len(ids) if isinstance(ids, list) else 1
            return f"{count} {'message' if count == 1 else 'messages'} {_word(data, 'status')}"
        case "call.update":
            return f"{_word(data, 'type')} from {_word(data, 'from').partition('@')[0]}".strip()
        case "group.flow":
            who = data.get("participants")
            name = _word(who[0], "name") if isinstance(who, list) and who else ""
            return f"{_word(data, 'groupName')}: {name} {_word(data, 'type')}"
        case "instance.state":
            return _word(data, "state")
        case "label.update":
            return f"{_word(data, 'type')} {_word(data, 'name')}"


def _describe_message(data: dict[str, Any]) -> str:
    body = data.get("message")
    where = data if "chat" in data else body
    chat, sender = _word(where, "chat", "name"), _word(where, "sender", "name")
    if _word(where, "direction") == "outgoing":
        who = f"to {chat}"
    else:
        who = sender if chat == sender else f"{sender} in {chat}"
    return f"{who}: {_content(body)}"


def _content(body: object) -> str:
    kind = _word(body, "type")
    text = _word(body, "content") or _word(body, "content", "text")
    match kind:
        case "text":
            return text
        case "location":
            return f"[location] {_word(body, 'location', 'address')}"
        case "buttons_response":
            return f"[button] {_word(body, 'interactive', 'selectedButtonId')}"
        case _:
            return f"[{kind.removeprefix('message_')}] {_word(body, 'media', 'caption') or text}"


def _word(data: object, *keys: str) -> str:
    """The text at the end of these keys, or none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) else ""
