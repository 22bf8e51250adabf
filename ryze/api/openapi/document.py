"""The OpenAPI document: the routes of blueprints, with their descriptions from `operations`.

quart-schema walks the routes and takes paths, parameters and summaries from them. Bodies are added
here: it knows one content type per route, and leaves out the types that a type refers to.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from quart import Blueprint
from quart_schema import Info, QuartSchema, Tag
from quart_schema.openapi import OpenAPIProvider
from quart_trio import QuartTrio
from werkzeug.routing import Rule

from ryze import __version__
from ryze.api.authorization import Scope
from ryze.api.openapi.operations import (
    JSON,
    OPERATIONS,
    TAGS,
    Operation,
    RequestContent,
    ResponseContent,
)
from ryze.api.openapi.websocket_operations import PRODUCER, SUBSCRIBER, UPGRADES
from ryze.api.request_bodies import INSTANCE_NAME
from ryze.api.response_bodies import Body, ErrorResponse
from ryze.errors import (
    BODY_TOO_LARGE,
    DATABASE_FAILED,
    DRAINING,
    HEADERS_TOO_LARGE,
    INSTANCE_NOT_FOUND,
    INTERNAL_SERVER_ERROR,
    INVALID_BODY,
    INVALID_TOKEN,
    RATE_LIMITED,
    REQUEST_TIMEOUT,
    TOO_MANY_CONNECTIONS,
    ErrorKind,
    error_body,
)
from ryze.events.event import EVENT_TYPES

__all__ = ["openapi"]

_Json = dict[str, Any]

_DESCRIPTION = """\
A self-hosted, real-time event gateway: turn the WebSocket of an instance on, connect any number of
subscribers to it, publish events, and every subscriber receives them at once.

Every error is `{"success": false, "error": {"message": "..."}}`, also if no route matches: 404
`Not found`, 405 `Method not allowed`. The WebSocket channels are described in
[asyncapi.json](asyncapi.json).
"""
_SECURITY = {
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "token",
        "description": "A TokenAccount, or a TokenInstance.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same as a bearer token."},
    "query": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "The same in the query; WebSockets only.",
    },
}
_INSTANCE = {
    "name": "instance",
    "in": "path",
    "required": True,
    "description": "The instance's name.",
    "schema": {"type": "string", "pattern": f"^{INSTANCE_NAME}$"},
    "example": "demo",
}
_HEADERS = {
    "X-RateLimit-Limit": "Requests allowed per window.",
    "X-RateLimit-Remaining": "Requests left in this window.",
    "X-RateLimit-Reset": "Start of the next window, in Unix seconds.",
    "Retry-After": "Seconds until the next window.",
}
_TOKENS = {
    Scope.PUBLIC: "Needs no token.",
    Scope.OPEN: "Needs no token and has no rate limit.",
    Scope.ACCOUNT: "Accepts a TokenAccount.",
    Scope.INSTANCE: "Accepts a TokenAccount or the TokenInstance of the instance.",
}


# Reason phrases of RFC 9110 that Python names otherwise before 3.13.
_PHRASES = {413: "Content Too Large"}


def openapi(blueprints: Iterable[Blueprint]) -> _Json:
    """Make the document.

    Args:
        blueprints: the routes to describe.

    Raises:
        KeyError: a route has no description in `operations`.
    """
    # An application that serves nothing, because quart-schema changes the one that it is given.
    app = QuartTrio("ryze", static_folder=None)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    about = QuartSchema(
        info=Info("Ryze", __version__, description=_DESCRIPTION),
        tags=[Tag(name, description) for name, description in TAGS.items()],
    )
    document = dict(_Provider(app, about).schema())
    for path, upgrade in UPGRADES.items():
        document["paths"][path] = {"get": _upgrade_json(path, upgrade)}
    document["components"] = {
        "schemas": _SCHEMAS,
        "headers": {
            name: {"description": description, "schema": {"type": "integer"}}
            for name, description in _HEADERS.items()
        },
        "securitySchemes": _SECURITY,
    }
    return document


# The ids and summaries of the upgrades, which have no handler to take them from.
_NAMES = {
    SUBSCRIBER: ("connect", "Connect, and receive the instance's events."),
    PRODUCER: ("connectToPublish", "Publish over a WebSocket, one event per text frame."),
}
_REF = "#/components/schemas/{name}"


class _Provider(OpenAPIProvider):
    """Walks the routes as quart-schema does, in our order and with our bodies."""

    def generate_rules(self) -> Iterable[Rule]:
        order = {endpoint: number for number, endpoint in enumerate(OPERATIONS)}
        return sorted(self._app.url_map.iter_rules(), key=lambda rule: order[rule.endpoint])

    def operation_id(self, method: str, path: str, func: Any) -> str:
        first, *rest = str(func.__name__).split("_")
        return first + "".join(word.title() for word in rest)

    def build_path_parameter(self, name: str, converter: Any) -> _Json:
        return _INSTANCE if name == "name" else super().build_path_parameter(name, converter)

    def build_paths(self, rule: Rule) -> tuple[_Json, _Json]:
        paths, _ = super().build_paths(rule)
        scope = self._app.view_functions[rule.endpoint].requirement.scope
        for operations in paths.values():
            for json in operations.values():
                json |= _operation_json(OPERATIONS[rule.endpoint], scope, json["parameters"])
        return {path.replace("{name}", "{instance}"): item for path, item in paths.items()}, {}


def _operation_json(operation: Operation, scope: Scope, parameters: Sequence[_Json]) -> _Json:
    """Render the members of an operation that quart-schema does not know."""
    on_instance = _INSTANCE in parameters
    described = [_typed(parameter, operation) for parameter in parameters]
    json: _Json = {
        "tags": [operation.tag],
        "description": " ".join(filter(None, (operation.description, _TOKENS[scope]))),
        "parameters": [*described, *operation.query],
        "security": [{"token": []}, {"bearer": []}] if _needs_token(scope) else [],
        "responses": _responses(operation, _errors(operation, scope, on_instance), scope),
    }
    if operation.bodies:
        content = {kind: _request_json(body) for kind, body in operation.bodies.items()}
        json["requestBody"] = {"required": operation.needs_body, "content": content}
    return json


def _upgrade_json(path: str, operation: Operation) -> _Json:
    json = _operation_json(operation, Scope.INSTANCE, [_INSTANCE])
    json["operationId"], json["summary"] = _NAMES[path]
    json["security"].append({"query": []})
    return json


def _typed(parameter: _Json, operation: Operation) -> _Json:
    schema = operation.path.get(parameter["name"], parameter["schema"])
    return {**parameter, "schema": schema}


def _needs_token(scope: Scope) -> bool:
    return scope in (Scope.ACCOUNT, Scope.INSTANCE)


def _errors(operation: Operation, scope: Scope, on_instance: bool) -> dict[int, list[str]]:
    """Collect the messages of all errors by status: the derived ones first, then its own."""
    found: dict[int, list[str]] = {}
    for kind in (*_derived_errors(operation, scope, on_instance), *operation.errors):
        found.setdefault(kind.status, []).append(kind.message)
    return dict(sorted(found.items()))


def _derived_errors(operation: Operation, scope: Scope, on_instance: bool) -> Iterator[ErrorKind]:
    if operation.bodies:
        yield INVALID_BODY
        yield REQUEST_TIMEOUT
        yield BODY_TOO_LARGE
    if _needs_token(scope):
        yield INVALID_TOKEN
        yield DATABASE_FAILED
    if _needs_token(scope) and on_instance:
        yield INSTANCE_NOT_FOUND
    if scope is not Scope.OPEN:
        yield RATE_LIMITED
        yield DRAINING
        yield TOO_MANY_CONNECTIONS
    yield HEADERS_TOO_LARGE
    yield INTERNAL_SERVER_ERROR


def _responses(operation: Operation, errors: Mapping[int, Sequence[str]], scope: Scope) -> _Json:
    headers = {} if scope is Scope.OPEN else _rate_limit_headers()
    found: _Json = {}
    for status, response in operation.responses.items():
        content = _response_json(response)
        found[str(status)] = {"description": response.description, **headers, **content}
    for status, messages in errors.items():
        found[str(status)] = _error_json(status, messages, headers)
    return found


def _rate_limit_headers() -> _Json:
    return {"headers": {name: _header(name) for name in _HEADERS if name != "Retry-After"}}


def _header(name: str) -> _Json:
    return {"$ref": f"#/components/headers/{name}"}


def _response_json(response: ResponseContent) -> _Json:
    if response.body is None:
        return {}
    if isinstance(response.body, Mapping):
        return {"content": {response.content_type: {"schema": response.body}}}
    # Not to_builtins(), which keeps tuples.
    example = msgspec.json.decode(msgspec.json.encode(response.body))
    content = {"schema": _schema(type(response.body)), "example": example}
    return {"content": {response.content_type: content}}


def _error_json(status: int, messages: Sequence[str], headers: _Json) -> _Json:
    # Of the bytes that are sent: a test checks them against the schema of `ErrorResponse`.
    examples = {
        message: {"value": msgspec.json.decode(error_body(message))} for message in messages
    }
    error: _Json = {
        "description": _PHRASES.get(status) or HTTPStatus(status).phrase,
        "content": {JSON: {"schema": _schema(ErrorResponse), "examples": examples}},
        **headers,
    }
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        error["headers"] = {**error["headers"], "Retry-After": _header("Retry-After")}
    return error


def _request_json(body: RequestContent) -> _Json:
    examples = {name: {"value": value} for name, value in body.examples.items()}
    encoding = {"encoding": body.encoding} if body.encoding else {}
    return {"schema": _schema(body.schema), "examples": examples, **encoding}


def _schema(described: Any) -> _Json:
    """Return the schema of a type, of several types that share an object, or the given one."""
    if isinstance(described, tuple):
        return {"allOf": [_schema(each) for each in described]}
    return dict(described) if isinstance(described, Mapping) else _REFERENCES[described]


def _response_types() -> Iterator[type]:
    yield ErrorResponse
    for operation in OPERATIONS.values():
        for response in operation.responses.values():
            if isinstance(response.body, Body):
                yield type(response.body)


def _request_types() -> Iterator[type]:
    for operation in OPERATIONS.values():
        for body in operation.bodies.values():
            if not isinstance(body.schema, Mapping):
                yield from body.schema if isinstance(body.schema, tuple) else [body.schema]


def _components(types: Iterable[type]) -> tuple[dict[type, _Json], _Json]:
    """Return a reference to each type, and the schemas that they refer to."""
    found = list(dict.fromkeys(types))
    references, schemas = msgspec.json.schema_components(found, ref_template=_REF)
    return dict(zip(found, references, strict=True)), schemas


def _closed(schema: _Json) -> _Json:
    """Make the schema of a response exact: it has all members, and no others.

    msgspec makes members with a default optional, because a decoder would accept them absent.
    """
    members = {
        name: {key: value for key, value in member.items() if key != "default"}
        for name, member in schema["properties"].items()
    }
    return {
        **schema,
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }


def _ecmascript(schema: Any) -> Any:
    r"""Replace \A and \Z, which JSON Schema's regular expressions do not know."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern" and isinstance(value, str)
            else _ecmascript(value)
            for key, value in schema.items()
        }
    return [_ecmascript(item) for item in schema] if isinstance(schema, list) else schema


# Last, because they need the functions above.
_RESPONSE_REFERENCES, _RESPONSE_SCHEMAS = _components(_response_types())
_REQUEST_REFERENCES, _REQUEST_SCHEMAS = _components(_request_types())
_REFERENCES = _RESPONSE_REFERENCES | _REQUEST_REFERENCES
_SCHEMAS: _Json = {
    **{name: _closed(schema) for name, schema in _RESPONSE_SCHEMAS.items()},
    **_ecmascript(_REQUEST_SCHEMAS),
}
# The record knows no event types: to it they are strings.
_SCHEMAS["WebsocketConfig"]["properties"]["events"]["items"] = {"enum": list(EVENT_TYPES)}
