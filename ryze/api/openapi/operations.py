"""Per route: its request bodies, its responses, its errors.

The only place that states them. `document` adds the errors of every request, and those that follow
from the scope of the handler (401, 404, 429) and from a body (400, 408, 413), so an operation lists
only errors of its own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ryze.api.docs_page import FILES
from ryze.api.openapi.event_schemas import PUBLICATION, WITH_MEDIA_OBJECT, examples
from ryze.api.request_bodies import (
    NewInstance,
    NewToken,
    SettingsUpdate,
    SetWebsocket,
    WebsocketBlock,
)
from ryze.api.response_bodies import (
    Body,
    EventsPublished,
    Health,
    HealthChecks,
    InstanceCreated,
    InstanceDeleted,
    InstancesFound,
    InstanceSummary,
    InstanceToken,
    InstanceWithToken,
    SettingsRetrieved,
    SettingsUpdated,
    TokenUpdated,
    WebsocketConfigured,
    WebsocketRetrieved,
)
from ryze.errors import (
    BODY_TOO_LARGE,
    CONFIG_READ_FAILED,
    INSTANCE_EXISTS,
    INSTANCE_NOT_FOUND,
    INVALID_BODY,
    NO_SETTING_GIVEN,
    NOT_CONFIGURED,
    NOT_FOUND,
    QUOTA_EXCEEDED,
    TOKEN_IN_USE,
    ErrorKind,
)
from ryze.ingest.form import FORM
from ryze.ingest.ndjson_lines import NDJSON
from ryze.records import InstanceSettings, WebsocketConfig

__all__ = ["JSON", "OPERATIONS", "TAGS", "Operation", "RequestContent", "ResponseContent"]

JSON = "application/json"

#: The groups of operations, in the order of a first session.
TAGS = {
    "Instances": "One per WhatsApp number.",
    "WebSocket": "Turn it on, connect, receive events.",
    "Publish": "Publish events.",
    "Server": "Health, metrics, and these documents.",
}


@dataclass(frozen=True)
class RequestContent:
    """A request body of one content type.

    Args:
        schema: a type of ours, several types that share one JSON object, or a JSON Schema.
        examples: by name.
        encoding: of the parts of a form, as in OpenAPI.
    """

    schema: type | tuple[type, ...] | Mapping[str, Any]
    examples: Mapping[str, object]
    encoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResponseContent:
    """A response that is no error.

    Args:
        description: in a few words.
        body: an example, whose type gives the schema; for a content type other than JSON a
            JSON Schema; None if there is no body.
        content_type: of the body.
    """

    description: str
    body: Body | Mapping[str, Any] | None
    content_type: str = JSON


@dataclass(frozen=True)
class Operation:
    """The requests and responses of one route.

    Args:
        tag: the group in which it is shown.
        responses: by status.
        errors: its own errors, besides those that `document` derives.
        bodies: by content type; empty if it takes no body.
        needs_body: one of `bodies` is required.
        query: parameters, as in OpenAPI.
        path: JSON Schemas of path parameters other than the instance.
        description: follows the first line of the handler's docstring.
    """

    tag: str
    responses: Mapping[int, ResponseContent]
    errors: Sequence[ErrorKind] = ()
    bodies: Mapping[str, RequestContent] = field(default_factory=dict)
    needs_body: bool = True
    query: Sequence[Mapping[str, Any]] = ()
    path: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


def _lines(*events: object) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


_WEBSOCKET = WebsocketConfig(True, ("message.exchange", "instance.state"), True)
_TOKEN = "s3cr3t-of-the-instance"
_SETTINGS = InstanceSettings()
_TEXT = {"type": "string"}
_PICTURE = {
    "event": "message.exchange",
    "data": {"message": {"type": "image", "media": {"type": "image", "mimetype": "image/png"}}},
}

_OPENAPI = {"type": "object", "description": "An OpenAPI 3.1 document."}
_ASYNCAPI = {"type": "object", "description": "An AsyncAPI 3.0 document."}
_HEALTHY = Health(
    status="ok",
    uptime=86400.5,
    timestamp="2026-04-28T10:30:00.000Z",
    checks=HealthChecks(database="ok", gateway="ok"),
)
_DRAINING = Health(
    status="degraded",
    uptime=86400.5,
    timestamp="2026-04-28T10:30:00.000Z",
    checks=HealthChecks(database="ok", gateway="draining"),
)

#: By the endpoint's name in the application.
OPERATIONS: dict[str, Operation] = {
    "instances.new_instance": Operation(
        "Instances",
        {
            201: ResponseContent(
                "The new instance.",
                InstanceCreated(
                    instance=InstanceWithToken(name="demo", token=_TOKEN),
                    data=InstanceToken(token=_TOKEN),
                    websocket=_WEBSOCKET,
                ),
            )
        },
        errors=[QUOTA_EXCEEDED, INSTANCE_EXISTS, TOKEN_IN_USE],
        bodies={
            JSON: RequestContent(
                (NewInstance, WebsocketBlock),
                {
                    "only the name": {"name": "demo"},
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
        "Websocket in the same request. If they are invalid, the instance is created with its "
        "WebSocket off.",
    ),
    "instances.list_instances": Operation(
        "Instances",
        {
            200: ResponseContent(
                "The instances found.",
                InstancesFound(
                    message="1 Instance found",
                    instances=[
                        InstanceSummary(name="demo", websocket=_WEBSOCKET, settings=_SETTINGS)
                    ],
                ),
            )
        },
        errors=[INSTANCE_NOT_FOUND],
        query=[
            {
                "name": "instanceName",
                "in": "query",
                "description": "Only these names, separated by commas. Unknown names are skipped; "
                "a single unknown name is a 404. A TokenInstance sees its own instance in any "
                "case.",
                "schema": {"type": "string"},
                "example": "demo,shop",
            }
        ],
    ),
    "instances.delete_instance": Operation(
        "Instances", {200: ResponseContent("The instance was deleted.", InstanceDeleted())}
    ),
    "instances.change_token": Operation(
        "Instances",
        {
            200: ResponseContent(
                "The new token.",
                TokenUpdated(
                    instance=InstanceWithToken(name="demo", token=_TOKEN),
                    data=InstanceToken(token=_TOKEN),
                ),
            )
        },
        errors=[TOKEN_IN_USE],
        bodies={
            JSON: RequestContent(
                NewToken, {"made by the server": {}, "a token of your own": {"token": _TOKEN}}
            )
        },
        needs_body=False,
        description="The old token stops working, and connections opened with it end with 4501.",
    ),
    "instance_settings.change_settings": Operation(
        "Instances",
        {
            200: ResponseContent(
                "All settings after the change.", SettingsUpdated(settings=_SETTINGS)
            )
        },
        errors=[NO_SETTING_GIVEN],
        bodies={
            JSON: RequestContent(SettingsUpdate, {"one setting": {"ignoreGroupMessages": True}})
        },
        description="At least one is required. `ignoreGroupMessages` and `ignoreStatus` drop "
        "such events from the next one on.",
    ),
    "instance_settings.get_settings": Operation(
        "Instances", {200: ResponseContent("All settings.", SettingsRetrieved(settings=_SETTINGS))}
    ),
    "websocket_config.set_websocket": Operation(
        "WebSocket",
        {
            200: ResponseContent(
                "The configuration that was saved.", WebsocketConfigured(websocket=_WEBSOCKET)
            )
        },
        bodies={
            JSON: RequestContent(
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
    "websocket_config.get_websocket": Operation(
        "WebSocket",
        {
            200: ResponseContent(
                "The saved configuration.", WebsocketRetrieved(websocket=_WEBSOCKET)
            )
        },
        errors=[NOT_CONFIGURED, CONFIG_READ_FAILED],
    ),
    "publish.publish": Operation(
        "Publish",
        {202: ResponseContent("Published.", EventsPublished(published=1, clients=3))},
        bodies={
            JSON: RequestContent(
                {"anyOf": [PUBLICATION, {"type": "array", "items": PUBLICATION}]},
                {**examples(), "several": [examples()["call"], examples()["label"]]},
            ),
            NDJSON: RequestContent(
                # As OpenAPI 3.2 has it: of a sequence of documents, the schema is that of an array.
                {
                    "type": "array",
                    "items": PUBLICATION,
                    "description": "One event per line; the body may go on without an end.",
                },
                {"two events": _lines(examples()["call"], examples()["label"])},
            ),
            FORM: RequestContent(
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
        errors=[
            INVALID_BODY.with_detail(
                "line 3: JSON is malformed: invalid character (byte 0); 2 published"
            ),
            INVALID_BODY.with_detail("the part 'media' is missing"),
            BODY_TOO_LARGE.with_detail("line 3; 2 published"),
        ],
        description="An array is published completely or not at all. Each line of a stream is "
        "published when it is received; an invalid line ends the stream, and the events before it "
        "stay published. In a form, the file becomes the `base64` of the event's media object. "
        "Without subscribers the events are discarded, and `clients` is 0.",
    ),
    "health.health": Operation(
        "Server",
        {
            200: ResponseContent("The server is healthy.", _HEALTHY),
            503: ResponseContent("It is not.", _DRAINING),
        },
    ),
    "metrics.metrics": Operation(
        "Server",
        {200: ResponseContent("All metrics.", _TEXT, "text/plain")},
        errors=[NOT_FOUND],
        description="In Prometheus' text format; 404 if `RYZE_METRICS` is off.",
    ),
    "docs.openapi_document": Operation(
        "Server", {200: ResponseContent("This document.", _OPENAPI)}
    ),
    "docs.asyncapi_document": Operation(
        "Server", {200: ResponseContent("The AsyncAPI document.", _ASYNCAPI)}
    ),
    "docs.page": Operation("Server", {200: ResponseContent("A page.", _TEXT, "text/html")}),
    "docs.part": Operation(
        "Server",
        {200: ResponseContent("A file.", _TEXT, "*/*")},
        errors=[NOT_FOUND],
        path={"file": {"enum": sorted(FILES)}},
    ),
}
