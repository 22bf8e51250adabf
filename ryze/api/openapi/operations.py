"""For every route: what it takes, what it answers, what can go wrong.

The only place where this is said. What follows from a handler's `access` mark (tokens, rate
limit, 401, 404, 429), from there being a body (400, 408, 413), and what any request can meet is
added by `openapi`, so a route names only what is its own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ryze.api.openapi.event_schemas import PUBLICATION, WITH_MEDIA_OBJECT, examples
from ryze.api.response_bodies import (
    Check,
    Connection,
    Created,
    Creation,
    Deleted,
    Deletion,
    Described,
    Health,
    InstanceList,
    ListedInstance,
    Publication,
    SettingsChanged,
    SettingsRead,
    SettingValues,
    TokenChanged,
    TokenOnly,
    Websocket,
    WebsocketRead,
    WebsocketSet,
)
from ryze.api.responses import INVALID_BODY, TOO_LARGE
from ryze.api.routes.docs import PARTS
from ryze.api.routes.instance_settings import GivenSettings
from ryze.api.routes.instances import NewInstance, NewToken, WebsocketBlock
from ryze.api.routes.websocket_config import SetWebsocket
from ryze.api.streamed_body import NDJSON
from ryze.errors import INSTANCE_NOT_FOUND
from ryze.ingest.form import FORM

__all__ = ["JSON", "ROUTES", "TAGS", "Answer", "Body", "Route"]

JSON = "application/json"

#: The groups of routes, in the order of a first session.
TAGS = {
    "Instances": "One for each WhatsApp number.",
    "WebSocket": "Turn it on, connect, listen.",
    "Publish": "How events come in.",
    "Server": "How it is, and these documents.",
}


@dataclass(frozen=True)
class Body:
    """A request body of one content type.

    Args:
        schema: a type of ours, several whose members all stand in it, or a JSON Schema.
        examples: by name.
        encoding: of the parts of a form, as OpenAPI has it.
    """

    schema: type | tuple[type, ...] | Mapping[str, Any]
    examples: Mapping[str, object]
    encoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """An answer that is no error.

    Args:
        description: in a few words.
        body: an example, of the type that describes them all; for another content type than
            JSON a JSON Schema; None: there is none.
        content_type: what it is.
    """

    description: str
    body: Described | Mapping[str, Any] | None
    content_type: str = JSON


@dataclass(frozen=True)
class Route:
    """What a route takes and answers.

    Args:
        tag: the group that it is shown in.
        answers: by status.
        errors: the messages of its own errors by status, besides those that are derived.
        bodies: by content type; none: it takes no body.
        needs_body: one of them must be there.
        query: parameters, as OpenAPI has them.
        path: JSON Schemas of path parameters that are no instance.
        description: more than the first line of the handler's docstring.
    """

    tag: str
    answers: Mapping[int, Answer]
    errors: Mapping[int, Sequence[str]] = field(default_factory=dict)
    bodies: Mapping[str, Body] = field(default_factory=dict)
    needs_body: bool = True
    query: Sequence[Mapping[str, Any]] = ()
    path: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


def _lines(*events: object) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


_WEBSOCKET = Websocket(True, ["message.exchange", "instance.state"], True)
_TOKEN = "s3cr3t-of-the-instance"
_SETTINGS = SettingValues(False, "", False, False, False, True, False)
_TEXT = {"type": "string"}
_PICTURE = {
    "event": "message.exchange",
    "data": {"message": {"type": "image", "media": {"type": "image", "mimetype": "image/png"}}},
}

_OPENAPI = {"type": "object", "description": "An OpenAPI 3.1 document."}
_ASYNCAPI = {"type": "object", "description": "An AsyncAPI 3.0 document."}
_HEALTHY = Health("ok", "ryze", 86400.5, "2026-04-28T10:30:00.000Z", Check("ok", "ok"))
_DRAINING = Health("degraded", "ryze", 86400.5, "2026-04-28T10:30:00.000Z", Check("ok", "draining"))

#: By the endpoint's name in the application.
ROUTES: dict[str, Route] = {
    "instances.new_instance": Route(
        "Instances",
        {
            201: Answer(
                "The new instance.",
                Creation(
                    True,
                    "Instance created successfully",
                    Created("demo", "disconnected", _TOKEN),
                    TokenOnly(_TOKEN),
                    _WEBSOCKET,
                ),
            )
        },
        errors={
            403: ["Account instance quota exceeded"],
            409: ["Instance already exists", "Token already in use"],
        },
        bodies={
            JSON: Body(
                (NewInstance, WebsocketBlock),
                {
                    "the name alone": {"name": "demo"},
                    "with its WebSocket on": {
                        "name": "demo",
                        "websocketEnabled": True,
                        "websocketEvents": ["message.exchange", "instance.state"],
                        "websocketMediaBase64": True,
                    },
                    "with a token and settings": {
                        "name": "demo",
                        "token": _TOKEN,
                        "ignoreGroupMessages": True,
                    },
                },
            )
        },
        description="`websocketEnabled`, `websocketEvents` and `websocketMediaBase64` are Set "
        "Websocket in the same request. If they are wrong, the instance is created with its "
        "WebSocket off.",
    ),
    "instances.list_instances": Route(
        "Instances",
        {
            200: Answer(
                "Those found.",
                InstanceList(
                    True,
                    "1 Instance found",
                    [
                        ListedInstance(
                            "demo",
                            "disconnected",
                            Connection("disconnected", None, None, None),
                            _WEBSOCKET,
                            None,
                            _SETTINGS,
                        )
                    ],
                ),
            )
        },
        errors={404: [INSTANCE_NOT_FOUND]},
        query=[
            {
                "name": "instanceName",
                "in": "query",
                "description": "Only these names, with commas between. Unknown ones are passed "
                "over; a single unknown one is a 404. A TokenInstance sees its own in any case.",
                "schema": {"type": "string"},
                "example": "demo,shop",
            }
        ],
    ),
    "instances.delete_instance": Route(
        "Instances",
        {200: Answer("It is gone.", Deletion(True, "Instance deleted", Deleted("deleted")))},
    ),
    "instances.change_token": Route(
        "Instances",
        {
            200: Answer(
                "Its token from now on.",
                TokenChanged(
                    True,
                    "Token updated successfully",
                    Created("demo", "disconnected", _TOKEN),
                    TokenOnly(_TOKEN),
                ),
            )
        },
        errors={409: ["Token already in use"]},
        bodies={JSON: Body(NewToken, {"one made by the server": {}, "this": {"token": _TOKEN}})},
        needs_body=False,
        description="The old token stops working, and connections that it opened end with 4501.",
    ),
    "instance_settings.change_settings": Route(
        "Instances",
        {
            200: Answer(
                "All settings as they are now.",
                SettingsChanged(True, "Settings updated successfully", _SETTINGS),
            )
        },
        errors={400: ["At least one setting must be provided"]},
        bodies={JSON: Body(GivenSettings, {"one of them": {"ignoreGroupMessages": True}})},
        description="At least one must be given. `ignoreGroupMessages` and `ignoreStatus` drop "
        "such events from the next one on.",
    ),
    "instance_settings.get_settings": Route(
        "Instances",
        {
            200: Answer(
                "All settings.", SettingsRead(True, "Settings retrieved successfully", _SETTINGS)
            )
        },
    ),
    "websocket_config.set_websocket": Route(
        "WebSocket",
        {
            200: Answer(
                "What was saved.",
                WebsocketSet(True, "WebSocket configured successfully", _WEBSOCKET),
            )
        },
        bodies={
            JSON: Body(
                SetWebsocket,
                {
                    "two event types, with media": {
                        "enabled": True,
                        "events": ["message.exchange", "instance.state"],
                        "mediaBase64": True,
                    },
                    "everything, without media": {"enabled": True},
                    "off": {"enabled": False},
                },
            )
        },
        description="Open connections stay open; a change applies to them from "
        "the next event on, and while it is off they receive none.",
    ),
    "websocket_config.get_websocket": Route(
        "WebSocket",
        {
            200: Answer(
                "What is saved.",
                WebsocketRead(True, "WebSocket configuration retrieved", _WEBSOCKET),
            )
        },
        errors={
            404: ["WebSocket not configured for this instance"],
            500: ["Failed to get websocket configuration"],
        },
    ),
    "publish.publish": Route(
        "Publish",
        {202: Answer("Handed out.", Publication(True, "Event published", 1, 3))},
        bodies={
            JSON: Body(
                {"anyOf": [PUBLICATION, {"type": "array", "items": PUBLICATION}]},
                {**examples(), "several": [examples()["call"], examples()["label"]]},
            ),
            NDJSON: Body(
                # As OpenAPI 3.2 has it: of a sequence of documents, the schema is that of an array.
                {
                    "type": "array",
                    "items": PUBLICATION,
                    "description": "An event a line, for as long as you like.",
                },
                {"two events": _lines(examples()["call"], examples()["label"])},
            ),
            FORM: Body(
                {
                    "type": "object",
                    "properties": {
                        "event": WITH_MEDIA_OBJECT,
                        "media": {"type": "string", "format": "binary", "description": "A file."},
                    },
                    "required": ["event", "media"],
                    "additionalProperties": False,
                },
                {"a picture": {"event": _PICTURE, "media": "the bytes of the picture"}},
                encoding={"event": {"contentType": JSON}},
            ),
        },
        errors={
            400: [
                f"{INVALID_BODY}: line 3: JSON is malformed: invalid character (byte 0); "
                "2 published",
                f"{INVALID_BODY}: the part 'media' is missing",
            ],
            413: [f"{TOO_LARGE}: line 3; 2 published"],
        },
        description="An array is taken whole or not at all. Of a stream each line is published as "
        "it comes; what came before a bad line stands. In a form the file becomes the `base64` of "
        "the event's media object. Nobody connected: the events are discarded, and `clients` is 0.",
    ),
    "health.health": Route(
        "Server",
        {200: Answer("All is well.", _HEALTHY), 503: Answer("It is not.", _DRAINING)},
    ),
    "metrics.metrics": Route(
        "Server",
        {200: Answer("All figures.", _TEXT, "text/plain")},
        errors={404: ["Not found"]},
        description="In Prometheus' form; 404 where `RYZE_METRICS` is off.",
    ),
    "docs.openapi_document": Route("Server", {200: Answer("This document.", _OPENAPI)}),
    "docs.asyncapi_document": Route("Server", {200: Answer("That document.", _ASYNCAPI)}),
    "docs.page": Route("Server", {200: Answer("A page.", _TEXT, "text/html")}),
    "docs.part": Route(
        "Server",
        {200: Answer("A file.", _TEXT, "*/*")},
        errors={404: ["Not found"]},
        path={"file": {"enum": sorted(PARTS)}},
    ),
}
