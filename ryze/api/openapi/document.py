"""The OpenAPI document: the application's routes, and what `routes` says of them.

quart-schema walks the routes and takes paths, parameters and summaries from them. Bodies are put
in here: it knows one content type a route, and leaves out the types that a type refers to.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from quart_schema import Info, QuartSchema, Tag
from quart_schema.openapi import OpenAPIProvider
from quart_trio import QuartTrio
from werkzeug.routing import Rule

from ryze import __version__
from ryze.api.application import add_routes
from ryze.api.authorization import Scope
from ryze.api.openapi.operations import JSON, ROUTES, TAGS, Answer, Body, Route
from ryze.api.openapi.websocket_operations import PUBLISHER, SOCKETS, SUBSCRIBER
from ryze.api.response_bodies import Described, Failure, Fault
from ryze.api.responses import INVALID_BODY, status_message
from ryze.api.routes.instances import INSTANCE_NAME
from ryze.errors import (
    DATABASE_FAILED,
    DRAINING,
    INSTANCE_NOT_FOUND,
    INVALID_TOKEN,
    RATE_LIMITED,
    TOO_MANY_CONNECTIONS,
)

__all__ = ["openapi"]

_Json = dict[str, Any]

_DESCRIPTION = """\
A self-hosted, real-time event gateway: turn the WebSocket of an instance on, connect any number of
clients to it, publish events, and every client gets them at once.

Every error is `{"success": false, "error": {"message": "..."}}`, also where no route is: 404
`Not found`, 405 `Method not allowed`. The WebSocket channels stand in
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
        "description": "The same in the address; WebSockets only.",
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
    "X-RateLimit-Limit": "Requests in a window.",
    "X-RateLimit-Remaining": "Of these, how many are left.",
    "X-RateLimit-Reset": "When the next window begins: Unix seconds.",
    "Retry-After": "Seconds until the next window.",
}
_WHO = {
    Scope.PUBLIC: "Needs no token.",
    Scope.OPEN: "Needs no token, and is not counted.",
    Scope.ACCOUNT: "Takes a TokenAccount.",
    Scope.INSTANCE: "Takes a TokenAccount or the TokenInstance of the instance.",
}


def openapi() -> _Json:
    """The document.

    Raises:
        KeyError: a route is not described in `routes`.
    """
    # None that serves: quart-schema may do with it what it likes.
    app = QuartTrio("ryze", static_folder=None)
    add_routes(app)
    about = QuartSchema(
        info=Info("Ryze", __version__, description=_DESCRIPTION),
        tags=[Tag(name, description) for name, description in TAGS.items()],
    )
    document = dict(_Provider(app, about).schema())
    for path, route in SOCKETS.items():
        document["paths"][path] = {"get": _socket(path, route)}
    document["components"] = {
        "schemas": _SCHEMAS,
        "headers": {
            name: {"description": description, "schema": {"type": "integer"}}
            for name, description in _HEADERS.items()
        },
        "securitySchemes": _SECURITY,
    }
    return document


# What the WebSocket addresses are called.
_NAMES = {
    SUBSCRIBER: ("connect", "Connect, and get the instance's events."),
    PUBLISHER: ("connectToPublish", "Publish over a WebSocket, an event a text frame."),
}
_REF = "#/components/schemas/{name}"


class _Provider(OpenAPIProvider):
    """quart-schema's walk over the routes, in our order and with our bodies."""

    def generate_rules(self) -> Iterable[Rule]:
        order = {endpoint: number for number, endpoint in enumerate(ROUTES)}
        return sorted(self._app.url_map.iter_rules(), key=lambda rule: order[rule.endpoint])

    def operation_id(self, method: str, path: str, func: Any) -> str:
        first, *rest = str(func.__name__).split("_")
        return first + "".join(word.title() for word in rest)

    def build_path_parameter(self, name: str, converter: Any) -> _Json:
        return _INSTANCE if name == "name" else super().build_path_parameter(name, converter)

    def build_paths(self, rule: Rule) -> tuple[_Json, _Json]:
        paths, _ = super().build_paths(rule)
        asked = self._app.view_functions[rule.endpoint].access
        for operations in paths.values():
            for operation in operations.values():
                operation |= _operation(ROUTES[rule.endpoint], asked.scope, operation["parameters"])
        return {path.replace("{name}", "{instance}"): item for path, item in paths.items()}, {}


def _operation(route: Route, scope: Scope, parameters: Sequence[_Json]) -> _Json:
    """What quart-schema does not know of an operation."""
    on_instance = _INSTANCE in parameters
    described = [_typed(parameter, route) for parameter in parameters]
    operation: _Json = {
        "tags": [route.tag],
        "description": " ".join(filter(None, (route.description, _WHO[scope]))),
        "parameters": [*described, *route.query],
        "security": [{"token": []}, {"bearer": []}] if _needs_token(scope) else [],
        "responses": _responses(route, _errors(route, scope, on_instance), scope),
    }
    if route.bodies:
        content = _content(route.bodies)
        operation["requestBody"] = {"required": route.needs_body, "content": content}
    return operation


def _socket(path: str, route: Route) -> _Json:
    operation = _operation(route, Scope.INSTANCE, [_INSTANCE])
    operation["operationId"], operation["summary"] = _NAMES[path]
    operation["security"].append({"query": []})
    return operation


def _typed(parameter: _Json, route: Route) -> _Json:
    schema = route.path.get(parameter["name"], parameter["schema"])
    return {**parameter, "schema": schema}


def _needs_token(scope: Scope) -> bool:
    return scope in (Scope.ACCOUNT, Scope.INSTANCE)


def _errors(route: Route, scope: Scope, on_instance: bool) -> dict[int, list[str]]:
    """The messages of all errors by status: what follows from the route's marks, and its own."""
    found: dict[int, list[str]] = {}
    for status, message in _derived(route, scope, on_instance):
        found.setdefault(status, []).append(message)
    for status, messages in route.errors.items():
        found.setdefault(status, []).extend(messages)
    return dict(sorted(found.items()))


def _derived(route: Route, scope: Scope, on_instance: bool) -> Iterator[tuple[int, str]]:
    if route.bodies:
        yield 400, INVALID_BODY
        yield 408, status_message(408)
        yield 413, status_message(413)
    if _needs_token(scope):
        yield 401, INVALID_TOKEN
        yield 500, DATABASE_FAILED
    if _needs_token(scope) and on_instance:
        yield 404, INSTANCE_NOT_FOUND
    if scope is not Scope.OPEN:
        yield 429, RATE_LIMITED
        yield 503, DRAINING
        yield 503, TOO_MANY_CONNECTIONS
    yield 431, status_message(431)
    yield 500, status_message(500)


def _responses(route: Route, errors: Mapping[int, Sequence[str]], scope: Scope) -> _Json:
    headers = {} if scope is Scope.OPEN else _rate_limit_headers()
    found: _Json = {}
    for status, answer in route.answers.items():
        found[str(status)] = {"description": answer.description, **headers, **_answer(answer)}
    for status, messages in errors.items():
        found[str(status)] = _error(status, messages, headers)
    return found


def _rate_limit_headers() -> _Json:
    return {"headers": {name: _header(name) for name in _HEADERS if name != "Retry-After"}}


def _header(name: str) -> _Json:
    return {"$ref": f"#/components/headers/{name}"}


def _answer(answer: Answer) -> _Json:
    if answer.body is None:
        return {}
    if isinstance(answer.body, Mapping):
        return {"content": {answer.content_type: {"schema": answer.body}}}
    example = msgspec.to_builtins(answer.body)
    content = {"schema": _schema(type(answer.body)), "example": example}
    return {"content": {answer.content_type: content}}


def _error(status: int, messages: Sequence[str], headers: _Json) -> _Json:
    examples = {
        message: {"value": msgspec.to_builtins(Failure(False, Fault(message)))}
        for message in messages
    }
    error: _Json = {
        "description": HTTPStatus(status).phrase,
        "content": {JSON: {"schema": _schema(Failure), "examples": examples}},
        **headers,
    }
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        error["headers"] = {**error["headers"], "Retry-After": _header("Retry-After")}
    return error


def _content(bodies: Mapping[str, Body]) -> _Json:
    return {content_type: _body(body) for content_type, body in bodies.items()}


def _body(body: Body) -> _Json:
    examples = {name: {"value": value} for name, value in body.examples.items()}
    encoding = {"encoding": body.encoding} if body.encoding else {}
    return {"schema": _schema(body.schema), "examples": examples, **encoding}


def _schema(described: Any) -> _Json:
    """The schema of a type of ours, of several at once, or one that is given."""
    if isinstance(described, tuple):
        return {"allOf": [_schema(each) for each in described]}
    return dict(described) if isinstance(described, Mapping) else _REFERENCES[described]


def _types() -> Iterator[type]:
    """All types of ours that bodies are of."""
    yield Failure
    for route in ROUTES.values():
        yield from (type(a.body) for a in route.answers.values() if isinstance(a.body, Described))
        for body in route.bodies.values():
            if not isinstance(body.schema, Mapping):
                yield from body.schema if isinstance(body.schema, tuple) else [body.schema]


def _components() -> tuple[dict[type, _Json], _Json]:
    """A reference to each type, and the schemas that they refer to."""
    types = list(dict.fromkeys(_types()))
    references, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    return dict(zip(types, references, strict=True)), _ecmascript(schemas)


def _ecmascript(schema: Any) -> Any:
    r"""JSON Schema's patterns know neither \A nor \Z."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern" and isinstance(value, str)
            else _ecmascript(value)
            for key, value in schema.items()
        }
    return [_ecmascript(item) for item in schema] if isinstance(schema, list) else schema


# Last, as it needs what stands above.
_REFERENCES, _SCHEMAS = _components()
