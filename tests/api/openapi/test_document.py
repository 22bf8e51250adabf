"""The OpenAPI document says what the code does; `tests.e2e.test_schemathesis` asks a server."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from quart_trio import QuartTrio

from ryze.api.application import add_routes
from ryze.api.authorization import Scope, access
from ryze.api.openapi import document as module
from ryze.api.openapi.document import openapi
from ryze.api.openapi.operations import ROUTES, TAGS
from ryze.api.openapi.websocket_operations import SOCKETS

DOCUMENT = openapi()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


OPERATIONS = {operation["operationId"]: operation for _, _, operation in operations()}


def rules() -> Iterator[Any]:
    app = QuartTrio("test", static_folder=None)
    add_routes(app)
    yield from app.url_map.iter_rules()


def resolved(schema: Any) -> Any:
    """With the whole document around it, so that references lead somewhere."""
    return {**schema, "components": DOCUMENT["components"]}


def test_every_route_is_described_and_no_other() -> None:
    assert {rule.endpoint for rule in rules()} == ROUTES.keys()
    paths = {
        rule.rule.replace("<name>", "{instance}").replace("<", "{").replace(">", "}")
        for rule in rules()
    }
    assert DOCUMENT["paths"].keys() == paths | SOCKETS.keys()


def test_a_route_without_a_description_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @access(Scope.OPEN)
    async def undescribed() -> None: ...

    def add_one_more(app: QuartTrio) -> None:
        add_routes(app)
        app.add_url_rule("/undescribed", view_func=undescribed)

    monkeypatch.setattr(module, "add_routes", add_one_more)
    with pytest.raises(KeyError, match="undescribed"):
        openapi()


def test_operations_have_names_of_their_own_and_groups_that_are_listed() -> None:
    assert len(OPERATIONS) == len(list(operations()))
    for operation in OPERATIONS.values():
        assert operation["summary"].endswith(".")
        assert set(operation["tags"]) <= TAGS.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_status_has_a_body_with_an_example_that_fits(name: str) -> None:
    for status, answer in OPERATIONS[name]["responses"].items():
        if status == "101":
            continue
        ((content_type, content),) = answer["content"].items()
        if int(status) >= 400 and name != "health":
            assert content["schema"] == {"$ref": "#/components/schemas/Failure"}
        if content_type != "application/json":
            continue
        given = [example["value"] for example in content.get("examples", {}).values()]
        for example in [*given, *([content["example"]] if "example" in content else [])]:
            jsonschema.validate(example, resolved(content["schema"]))


@pytest.mark.parametrize("name", OPERATIONS)
def test_examples_of_request_bodies_fit(name: str) -> None:
    for kind, content in OPERATIONS[name].get("requestBody", {}).get("content", {}).items():
        assert content["examples"]
        for example in content["examples"].values():
            value = example["value"]
            if kind == "application/x-ndjson":
                value = [json.loads(line) for line in value.splitlines()]
            jsonschema.validate(value, resolved(content["schema"]))


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("setWebsocket", "200 400 401 404 408 413 429 431 500 503"),
        ("getWebsocket", "200 401 404 429 431 500 503"),
        ("newInstance", "201 400 401 403 408 409 413 429 431 500 503"),
        ("listInstances", "200 401 404 429 431 500 503"),
        ("deleteInstance", "200 401 404 429 431 500 503"),
        ("changeToken", "200 400 401 404 408 409 413 429 431 500 503"),
        ("changeSettings", "200 400 401 404 408 413 429 431 500 503"),
        ("getSettings", "200 401 404 429 431 500 503"),
        ("publish", "202 400 401 404 408 413 429 431 500 503"),
        ("health", "200 431 500 503"),
        ("page", "200 429 431 500 503"),
        ("part", "200 404 429 431 500 503"),
        ("connect", "101 400 401 403 404 426 429 431 500 503"),
        ("connectToPublish", "101 400 401 403 404 426 429 431 500 503"),
    ],
)
def test_the_statuses_are_those_of_the_contract(name: str, statuses: str) -> None:
    assert " ".join(sorted(OPERATIONS[name]["responses"])) == statuses


def test_who_needs_a_token() -> None:
    open_to_all = {name for name, operation in OPERATIONS.items() if not operation["security"]}
    assert open_to_all == {
        "health",
        "metrics",
        "openapiDocument",
        "asyncapiDocument",
        "page",
        "part",
    }
    assert {"query": []} in OPERATIONS["connect"]["security"]
    assert {"query": []} not in OPERATIONS["publish"]["security"]


def test_headers_are_there_where_requests_are_counted() -> None:
    for name, operation in OPERATIONS.items():
        for status, answer in operation["responses"].items():
            assert ("X-RateLimit-Limit" in answer.get("headers", {})) == (
                name not in ("health", "metrics")
            )
            assert ("Retry-After" in answer.get("headers", {})) == (status == "429")


def test_patterns_are_those_of_ecmascript() -> None:
    name = DOCUMENT["components"]["schemas"]["NewInstance"]["properties"]["name"]
    assert name["pattern"] == "^[A-Za-z0-9_-]{1,100}$"
