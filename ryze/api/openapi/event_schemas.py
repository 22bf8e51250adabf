"""JSON Schemas of events, as producers send and subscribers receive them (contract, 4 and 6).

The server checks no more than `PUBLICATION`: ``event`` is one of six, ``data`` is an object, which
is passed on unchanged. So the schemas of the six types describe the members that real producers
send, require only those that identify the event, and allow any others: a client should do the same.

They use only keywords that draft 7 and 2020-12 share, because AsyncAPI's dialect is draft 7.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ryze.events.event import EVENT_TYPES, EventType

__all__ = [
    "DATA",
    "ENVELOPE",
    "PUBLICATION",
    "WITH_MEDIA_OBJECT",
    "documents",
    "examples",
    "examples_of",
]

_Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _object(
    description: str, properties: Mapping[str, _Schema], required: Sequence[str] = ()
) -> _Schema:
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        **({"required": list(required)} if required else {}),
    }


def _text(description: str, *examples: str) -> _Schema:
    more = {"examples": list(examples)} if examples else {}
    return {"type": "string", "description": description, **more}


def _flag(description: str) -> _Schema:
    return {"type": "boolean", "description": description}


def _or_null(schema: _Schema) -> _Schema:
    return {**schema, "type": [schema["type"], "null"]}


_JID = _text("A WhatsApp address.", "5511999990001@s.whatsapp.net", "120363000000000001@g.us")
_LID = _text("The same person, without the number.", "100200300400@lid")
_TIME = _text("Time, ISO 8601.", "2026-04-28T10:30:00Z", "2026-09-28T20:40:00-03:00")
_MESSAGE_ID = _text("Id of the message.", "3EB0C0FFEE000001")
_DIRECTION = _text("Direction.", "incoming", "outgoing")

_PERSON = _object("A person.", {"jid": _JID, "lid": _LID, "name": _text("Display name.")})
_CHAT = _object(
    "The chat of the message.",
    {
        "jid": _JID,
        "lid": _LID,
        "name": _text("Display name."),
        "type": _text("Kind of chat.", "private", "group"),
    },
)
_MEDIA = _object(
    "A file.",
    {
        "type": _text("Kind of file.", "image", "video", "audio", "document", "sticker"),
        "url": _text("Address of the encrypted file."),
        "base64": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "Its bytes; only if the instance has mediaBase64.",
        },
        "base64Omitted": _text("Reason why base64 is absent.", "too_large"),
        "mimetype": _text("Media type (catalogue shape).", "image/png"),
        "mimeType": _text("Media type (live shape).", "audio/ogg; codecs=opus"),
        "caption": _text("Caption."),
        "isVoiceNote": _flag("Is it a voice message?"),
    },
)
_MESSAGE_TYPE = _text("Message type.", "text", "image", "audio", "message_edit", "message_revoke")

_CATALOGUE = _object(
    "The catalogue's shape: all members are in `message`.",
    {
        "id": _MESSAGE_ID,
        "message": _object(
            "The message.",
            {
                "id": _MESSAGE_ID,
                "direction": _DIRECTION,
                "timestamp": _TIME,
                "chat": _CHAT,
                "sender": _PERSON,
                "type": _MESSAGE_TYPE,
                "content": _object("The content.", {"text": _text("The text.")}),
                "media": _or_null(_MEDIA),
                "location": _object(
                    "A place.",
                    {
                        "latitude": {"type": "number"},
                        "longitude": {"type": "number"},
                        "address": _text("Postal address."),
                    },
                ),
                "edit": _object(
                    "An edit of an earlier message.",
                    {"original_id": _MESSAGE_ID, "text": _text("The new text.")},
                ),
            },
            ["direction", "chat", "type"],
        ),
    },
    ["message"],
)
_LIVE = _object(
    "The live shape: sender, chat and direction are beside `message`.",
    {
        "id": _MESSAGE_ID,
        "direction": _DIRECTION,
        "timestamp": _TIME,
        "chat": _CHAT,
        "sender": _PERSON,
        "recipient": {"description": "The recipient, if known."},
        "message": _object(
            "The message itself.",
            {
                "type": _MESSAGE_TYPE,
                "content": _text("The text."),
                "source": _text("The device of the sender."),
                "isForwarded": _flag("Was it forwarded?"),
                "isEdit": _flag("Does it edit another message?"),
                "edit": {"type": ["object", "null"], "description": "The edit."},
                "context": {"type": ["object", "null"], "description": "The quoted message."},
                "media": _or_null(_MEDIA),
                "reaction": {"type": ["object", "null"], "description": "A reaction."},
                "interactive": {"type": ["object", "null"], "description": "A choice made."},
            },
            ["type"],
        ),
    },
    ["direction", "chat", "message"],
)

#: The ``data`` of each event type.
DATA: dict[EventType, _Schema] = {
    "message.exchange": {
        "description": "A message, in one of two shapes.",
        "anyOf": [_CATALOGUE | {"title": "Catalogue"}, _LIVE | {"title": "Live"}],
    },
    "message.status": _object(
        "A receipt for messages.",
        {
            "messageIds": {"type": "array", "items": _MESSAGE_ID, "description": "The messages."},
            "status": _text("Their state.", "sent", "delivered", "read", "played"),
            "timestamp": _TIME,
            "chat": _CHAT,
            "recipient": _JID,
        },
        ["messageIds", "status"],
    ),
    "call.update": _object(
        "A call, from its offer to its end.",
        {
            "callId": _text("Id of the call.", "A1B2C3D4E5"),
            "type": _text("Kind of change.", "offer", "accept", "reject", "terminate"),
            "from": _JID,
            "isVideo": _flag("Is it a video call?"),
            "timestamp": _TIME,
        },
        ["callId", "type"],
    ),
    "group.flow": _object(
        "A change in a group.",
        {
            "type": _text("Kind of change.", "added", "removed", "promoted", "demoted"),
            "groupJid": _JID,
            "groupName": _text("Display name."),
            "participants": {"type": "array", "items": _PERSON, "description": "Members."},
            "timestamp": _TIME,
        },
        ["type", "groupJid"],
    ),
    "instance.state": _object(
        "A change of the WhatsApp session.",
        {
            "state": _text("The new state.", "qr_ready", "connecting", "connected", "disconnected"),
            "timestamp": _TIME,
        },
        ["state"],
    ),
    "label.update": _object(
        "A label was created, changed or removed.",
        {
            "type": _text("Kind of change.", "edit"),
            "labelId": _text("Id of the label.", "7"),
            "name": _text("Display name."),
            "color": {"type": "integer", "description": "One of WhatsApp's colours."},
            "deleted": _flag("Was it removed?"),
        },
        ["type", "labelId"],
    ),
}

_EVENT = {"enum": list(EVENT_TYPES), "description": "The type of the event."}
_ANY_DATA = {"type": "object", "description": "Passed on to subscribers byte for byte."}

#: An event as the server checks it.
PUBLICATION: _Schema = _object(
    "An event, as a producer sends it; other members are ignored.",
    {"event": _EVENT, "data": _ANY_DATA},
    ["event", "data"],
)

_NO_BASE64 = {"type": "object", "not": {"required": ["base64"]}}


def _holding(name: str, schema: _Schema) -> _Schema:
    return {"type": "object", "properties": {name: schema}, "required": [name]}


#: The event of a form: it has an object for the file that comes with it.
WITH_MEDIA_OBJECT: _Schema = _object(
    "The event; its media object has no `base64` yet.",
    {
        "event": _EVENT,
        "data": {
            "anyOf": [
                _holding("message", _holding("media", _NO_BASE64)),
                _holding("media", _NO_BASE64),
            ]
        },
    },
    ["event", "data"],
)

#: The document in every frame to a subscriber.
ENVELOPE: _Schema = _object(
    "An event, as subscribers receive it: these three members, in this order.",
    {
        "event": _EVENT,
        "data": _ANY_DATA | {"description": "As the producer sent it; see the schema of its type."},
        "instanceData": _object(
            "The instance of the event.",
            {
                "baseUrl": _text("The server's public address.", "https://ryze.example"),
                "instance": _text("The instance's name.", "demo"),
                "token": _text("Its TokenInstance."),
            },
            ["baseUrl", "instance", "token"],
        )
        | {"additionalProperties": False},
    },
    ["event", "data", "instanceData"],
) | {"additionalProperties": False}


def documents() -> dict[str, _Schema]:
    """Return the JSON Schema files by name: the envelope, and one per event type."""
    files = {"envelope.json": _document("envelope.json", "Envelope", ENVELOPE)}
    for name in EVENT_TYPES:
        schema = _object(
            f"A {name} event, as a producer sends it.",
            {"event": {"const": name}, "data": {"type": "object", **DATA[name]}},
            ["event", "data"],
        )
        schema["examples"] = examples_of(name)
        files[f"{name}.json"] = _document(f"{name}.json", name, schema)
    return files


def _document(file: str, title: str, schema: _Schema) -> _Schema:
    return {"$schema": _DIALECT, "$id": file, "title": title, **schema}


def examples_of(event: EventType) -> list[dict[str, Any]]:
    """Return the examples of one type."""
    return [example for example in examples().values() if example["event"] == event]


def examples() -> dict[str, dict[str, Any]]:
    """Return an example of each type by a short name; of messages one per shape."""
    who = {"jid": "5511999990001@s.whatsapp.net", "lid": "100200300400@lid", "name": "João Silva"}
    chat = {**who, "type": "private"}
    when = "2026-04-28T10:30:00Z"
    message = {"id": "3EB0C0FFEE000001", "direction": "incoming", "timestamp": when}
    data: dict[str, tuple[EventType, object]] = {
        "message (catalogue)": (
            "message.exchange",
            {
                "id": message["id"],
                "message": {
                    **message,
                    "chat": chat,
                    "sender": who,
                    "type": "text",
                    "content": {"text": "Olá! Tudo bem? 😀"},
                },
            },
        ),
        "message (live)": (
            "message.exchange",
            {
                **message,
                "chat": chat,
                "sender": who,
                "message": {"type": "text", "content": "oi", "media": None},
            },
        ),
        "receipt": (
            "message.status",
            {"messageIds": [message["id"]], "status": "read", "timestamp": when, "chat": chat},
        ),
        "call": (
            "call.update",
            {"callId": "A1B2C3D4E5", "type": "offer", "from": who["jid"], "isVideo": False},
        ),
        "group": (
            "group.flow",
            {"type": "promoted", "groupJid": "120363000000000001@g.us", "participants": [who]},
        ),
        "state": ("instance.state", {"state": "connected", "timestamp": when}),
        "label": (
            "label.update",
            {"type": "edit", "labelId": "7", "name": "Pago", "color": 3, "deleted": False},
        ),
    }
    return {name: {"event": event, "data": value} for name, (event, value) in data.items()}
