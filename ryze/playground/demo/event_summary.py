"""One-line summaries of events."""

from typing import Any

import msgspec

from ryze.events.event import Event

__all__ = ["describe_event"]


def describe_event(event: Event) -> str:
    """Summarize an event. Its data is not validated: any key may be missing or of any type."""
    data = msgspec.json.decode(event.data)
    match event.type:
        case "message.exchange":
            return _describe_message(data)
        case "message.status":
            ids = data.get("messageIds")
            count = len(ids) if isinstance(ids, list) else 1
            return f"{count} {'message' if count == 1 else 'messages'} {_text_at(data, 'status')}"
        case "call.update":
            number = _text_at(data, "from").partition("@")[0]
            return f"{_text_at(data, 'type')} from {number}".strip()
        case "group.flow":
            members = data.get("participants")
            name = _text_at(members[0], "name") if isinstance(members, list) and members else ""
            return f"{_text_at(data, 'groupName')}: {name} {_text_at(data, 'type')}"
        case "instance.state":
            return _text_at(data, "state")
        case "label.update":
            return f"{_text_at(data, 'type')} {_text_at(data, 'name')}"


def _describe_message(data: dict[str, Any]) -> str:
    body = data.get("message")
    envelope = data if "chat" in data else body
    chat, sender = _text_at(envelope, "chat", "name"), _text_at(envelope, "sender", "name")
    if _text_at(envelope, "direction") == "outgoing":
        direction = f"to {chat}"
    else:
        direction = sender if chat == sender else f"{sender} in {chat}"
    return f"{direction}: {_content(body)}"


def _content(body: object) -> str:
    kind = _text_at(body, "type")
    text = _text_at(body, "content") or _text_at(body, "content", "text")
    match kind:
        case "text":
            return text
        case "location":
            return f"[location] {_text_at(body, 'location', 'address')}"
        case "buttons_response":
            return f"[button] {_text_at(body, 'interactive', 'selectedButtonId')}"
        case _:
            return f"[{kind.removeprefix('message_')}] {_text_at(body, 'media', 'caption') or text}"


def _text_at(data: object, *keys: str) -> str:
    """Return the text at this path of keys; empty if there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) else ""
