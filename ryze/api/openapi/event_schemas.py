"""What producers send and what clients get, as JSON Schemas (contract, sections 4 and 6).

The server itself looks at no more than `PUBLICATION` says: ``event`` is one of six, ``data`` is
an object. What is inside is the producers' affair and goes through as it came. So the schemas of
the six name the members that real producers send, ask only for those that make an event what it
is, and let everything else be: a client should do the same.

Only what draft 7 and 2020-12 have in common is used, because AsyncAPI's own dialect is the former.
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


_JID = _text("An address.", "5511999990001@s.whatsapp.net", "120363000000000001@g.us")
_LID = _text("The same person, without the number.", "100200300400@lid")
_TIME = _text("When, ISO 8601.", "2026-04-28T10:30:00Z", "2026-09-28T20:40:00-03:00")
_MESSAGE_ID = _text("Of the message.", "3EB0C0FFEE000001")
_DIRECTION = _text("Which way.", "incoming", "outgoing")

_PERSON = _object("A person.", {"jid": _JID, "lid": _LID, "name": _text("As shown.")})
_CHAT = _object(
    "Where it was written.",
    {
        "jid": _JID,
        "lid": _LID,
        "name": _text("As shown."),
        "type": _text("Of the chat.", "private", "group"),
    },
)
_MEDIA = _object(
    "A file.",
    {
        "type": _text("Of the file.", "image", "video", "audio", "document", "sticker"),
        "url": _text("Where it can be fetched, encrypted."),
        "base64": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "Its bytes; there only where the instance has mediaBase64.",
        },
        "base64Omitted": _text("Why base64 was left out.", "too_large"),
        "mimetype": _text("Of the bytes (catalogue shape).", "image/png"),
        "mimeType": _text("Of the bytes (live shape).", "audio/ogg; codecs=opus"),
        "caption": _text("What is written below it."),
        "isVoiceNote": _flag("Was it recorded on the spot?"),
    },
)
_MESSAGE_TYPE = _text("What kind.", "text", "image", "audio", "message_edit", "message_revoke")

_CATALOGUE = _object(
    "The catalogue's shape: everything stands in `message`.",
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
                "content": _object("What it says.", {"text": _text("The text.")}),
                "media": _or_null(_MEDIA),
                "location": _object(
                    "A place.",
                    {
                        "latitude": {"type": "number"},
                        "longitude": {"type": "number"},
                        "address": _text("In words."),
                    },
                ),
                "edit": _object(
                    "What was changed.",
                    {"original_id": _MESSAGE_ID, "text": _text("The new text.")},
                ),
            },
            ["direction", "chat", "type"],
        ),
    },
    ["message"],
)
_LIVE = _object(
    "The live shape: who, where and which way stand beside `message`.",
    {
        "id": _MESSAGE_ID,
        "direction": _DIRECTION,
        "timestamp": _TIME,
        "chat": _CHAT,
        "sender": _PERSON,
        "recipient": {"description": "To whom, if that is known."},
        "message": _object(
            "The message itself.",
            {
                "type": _MESSAGE_TYPE,
                "content": _text("The text."),
                "source": _text("The device that it was written on."),
                "isForwarded": _flag("Was it forwarded?"),
                "isEdit": _flag("Does it change another one?"),
                "edit": {"type": ["object", "null"], "description": "What was changed."},
                "context": {"type": ["object", "null"], "description": "What it answers to."},
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
        "What became of messages.",
        {
            "messageIds": {"type": "array", "items": _MESSAGE_ID, "description": "Of which."},
            "status": _text("What became of them.", "sent", "delivered", "read", "played"),
            "timestamp": _TIME,
            "chat": _CHAT,
            "recipient": _JID,
        },
        ["messageIds", "status"],
    ),
    "call.update": _object(
        "A call, from its offer to its end.",
        {
            "callId": _text("Of the call.", "A1B2C3D4E5"),
            "type": _text("What happened.", "offer", "accept", "reject", "terminate"),
            "from": _JID,
            "isVideo": _flag("With a picture?"),
            "timestamp": _TIME,
        },
        ["callId", "type"],
    ),
    "group.flow": _object(
        "A change in a group.",
        {
            "type": _text("What happened.", "added", "removed", "promoted", "demoted"),
            "groupJid": _JID,
            "groupName": _text("As shown."),
            "participants": {"type": "array", "items": _PERSON, "description": "To whom."},
            "timestamp": _TIME,
        },
        ["type", "groupJid"],
    ),
    "instance.state": _object(
        "How the WhatsApp session is.",
        {
            "state": _text("The new state.", "qr_ready", "connecting", "connected", "disconnected"),
            "timestamp": _TIME,
        },
        ["state"],
    ),
    "label.update": _object(
        "A label was made, changed or removed.",
        {
            "type": _text("What happened.", "edit"),
            "labelId": _text("Of the label.", "7"),
            "name": _text("As shown."),
            "color": {"type": "integer", "description": "One of WhatsApp's colours."},
            "deleted": _flag("Is it gone?"),
        },
        ["type", "labelId"],
    ),
}

_EVENT = {"enum": list(EVENT_TYPES), "description": "What happened."}
_ANY_DATA = {"type": "object", "description": "Goes to clients byte for byte."}

#: What the server asks of an event.
PUBLICATION: _Schema = _object(
    "An event, as a producer hands it in; other members are ignored.",
    {"event": _EVENT, "data": _ANY_DATA},
    ["event", "data"],
)

_NO_BASE64 = {"type": "object", "not": {"required": ["base64"]}}


def _holding(name: str, schema: _Schema) -> _Schema:
    return {"type": "object", "properties": {name: schema}, "required": [name]}


#: An event for a file that comes beside it: there is an object to put it into.
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

#: What every frame is.
ENVELOPE: _Schema = _object(
    "An event, as clients get it: these three members, in this order.",
    {
        "event": _EVENT,
        "data": _ANY_DATA | {"description": "What the producer sent; see the event's schema."},
        "instanceData": _object(
            "Where it comes from.",
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
    """The JSON Schema files by name: the envelope, and one for each event type."""
    files = {"envelope.json": _document("envelope.json", "Envelope", ENVELOPE)}
    for name in EVENT_TYPES:
        schema = _object(
            f"A {name} event, as a producer hands it in.",
            {"event": {"const": name}, "data": {"type": "object", **DATA[name]}},
            ["event", "data"],
        )
        schema["examples"] = examples_of(name)
        files[f"{name}.json"] = _document(f"{name}.json", name, schema)
    return files


def _document(file: str, title: str, schema: _Schema) -> _Schema:
    return {"$schema": _DIALECT, "$id": file, "title": title, **schema}


def examples_of(event: EventType) -> list[dict[str, Any]]:
    """Those of one type."""
    return [example for example in examples().values() if example["event"] == event]


def examples() -> dict[str, dict[str, Any]]:
    """A publication of each type by a short name; of messages one in each shape."""
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
