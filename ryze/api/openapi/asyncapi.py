"""The AsyncAPI document: the two WebSocket channels, their messages and their close codes.

AsyncAPI has no field for close codes: they stand in ``x-close-codes``, and in the description for
people. Operations are the server's: it *sends* events to subscribers and *receives* them from
producers.
"""

from typing import Any

from ryze import __version__
from ryze.api.openapi.close_codes import CLOSE_CODES, as_table
from ryze.api.openapi.event_schemas import DATA, ENVELOPE, examples_of
from ryze.api.openapi.websocket_operations import PRODUCER, SUBSCRIBER
from ryze.events.event import EVENT_TYPES, EventType

__all__ = ["asyncapi"]

_Json = dict[str, Any]

_DESCRIPTION = f"""\
The WebSockets of Ryze: one JSON document per text frame. A refused upgrade gets an HTTP response in
JSON; its statuses are described in [openapi.json](openapi.json).

{as_table()}
"""
_SECURITY = {
    "token": {
        "type": "httpApiKey",
        "in": "header",
        "name": "token",
        "description": "A TokenAccount, or the TokenInstance of the instance.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same as a bearer token."},
    "query": {
        "type": "httpApiKey",
        "in": "query",
        "name": "token",
        "description": "The same in the query, for browsers, which cannot send headers.",
    },
}
_INSTANCE_DATA = {"baseUrl": "https://ryze.example", "instance": "demo", "token": "s3cr3t"}


def asyncapi() -> _Json:
    """Make the document."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Ryze", "version": __version__, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {name: _server(name) for name in ("ws", "wss")},
        "channels": {
            "events": _channel(SUBSCRIBER, "Events, as subscribers receive them.", "Delivered"),
            "publications": _channel(PRODUCER, "Events, as producers send them.", "Published"),
        },
        "operations": {
            "deliverEvents": _operation("send", "events", "Every subscriber receives every event."),
            "takeEvents": _operation("receive", "publications", "Each event is published at once."),
        },
        "components": {
            "schemas": {_title(event) + "Data": DATA[event] for event in EVENT_TYPES},
            "messages": {
                f"{_title(event)}{role}": _message(event, role)
                for role in ("Delivered", "Published")
                for event in EVENT_TYPES
            },
            "securitySchemes": _SECURITY,
            "parameters": {
                "instance": {"description": "The instance's name.", "examples": ["demo"]}
            },
        },
    }


def _server(protocol: str) -> _Json:
    return {
        "host": "{host}",
        "protocol": protocol,
        "description": "A server of your own.",
        "variables": {"host": {"default": "127.0.0.1:8080", "description": "Name and port."}},
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY],
    }


def _channel(address: str, description: str, role: str) -> _Json:
    names = [_title(event) + role for event in EVENT_TYPES]
    return {
        "address": address,
        "description": description,
        "parameters": {"instance": {"$ref": "#/components/parameters/instance"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        "x-close-codes": CLOSE_CODES,
    }


def _operation(action: str, channel: str, summary: str) -> _Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
    }


def _message(event: EventType, role: str) -> _Json:
    members: _Json = {
        "event": {"const": event},
        "data": {"$ref": f"#/components/schemas/{_title(event)}Data"},
    }
    payload: _Json = {"type": "object", "required": ["event", "data"], "properties": members}
    shown = examples_of(event)
    if role == "Delivered":
        members["instanceData"] = ENVELOPE["properties"]["instanceData"]
        payload["required"] = ENVELOPE["required"]
        payload["additionalProperties"] = False
        shown = [{**example, "instanceData": _INSTANCE_DATA} for example in shown]
    return {
        "name": event,
        "title": f"{event}, {role.lower()}",
        "payload": payload,
        "examples": [{"payload": example} for example in shown],
    }


def _title(event: str) -> str:
    return "".join(word.title() for word in event.split("."))
