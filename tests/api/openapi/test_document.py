"""The OpenAPI document matches the code; `tests.e2e.test_schemathesis` asks a server."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from quart import Blueprint
from quart_trio import QuartTrio

from ryze.api.application import BLUEPRINTS
from ryze.api.authorization import Scope, requires
from ryze.api.openapi.document import openapi
from ryze.api.openapi.operations import OPERATIONS as DESCRIBED
from ryze.api.openapi.operations import TAGS
from ryze.api.openapi.websocket_operations import UPGRADES

DOCUMENT = openapi(BLUEPRINTS)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


OPERATIONS = {operation["operationId"]: operation for _, _, operation in operations()}


def rules() -> Iterator[Any]:
    app = QuartTrio("test", static_folder=None)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    yield from app.url_map.iter_rules()


def resolved(schema: Any) -> Any:
    """Add the components, so that references resolve."""
    return {**schema, "components": DOCUMENT["components"]}


def test_exactly_the_given_routes_are_described() -> None:
    assert {rule.endpoint for rule in rules()} == DESCRIBED.keys()
    paths = {
        rule.rule.replace("<name>", "{instance}").replace("<", "{").replace(">", "}")
        for rule in rules()
    }
    assert DOCUMENT["paths"].keys() == paths | UPGRADES.keys()


def test_route_without_a_description_is_an_error() -> None:
    undescribed = Blueprint("undescribed", __name__)

    @undescribed.get("/undescribed")
    @requires(Scope.OPEN)
    async def handler() -> None: ...

    with pytest.raises(KeyError, match="undescribed"):
        openapi([*BLUEPRINTS, undescribed])


def test_only_the_given_routes_are_described() -> None:
    without_metrics = [each for each in BLUEPRINTS if each.name != "metrics"]
    assert openapi(without_metrics)["paths"].keys() == DOCUMENT["paths"].keys() - {"/metrics"}


def test_operations_have_unique_ids_and_known_tags() -> None:
    assert len(OPERATIONS) == len(list(operations()))
    for operation in OPERATIONS.values():
        assert operation["summary"].endswith(".")
        assert set(operation["tags"]) <= TAGS.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_status_has_a_valid_example(name: str) -> None:
    for status, response in OPERATIONS[name]["responses"].items():
        if status == "101":
            continue
        ((content_type, content),) = response["content"].items()
        if int(status) >= 400 and name != "health":
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorResponse"}
        if content_type != "application/json":
            continue
        given = [example["value"] for example in content.get("examples", {}).values()]
        for example in [*given, *([content["example"]] if "example" in content else [])]:
            jsonschema.validate(example, resolved(content["schema"]))


@pytest.mark.parametrize("name", OPERATIONS)
def test_examples_of_request_bodies_are_valid(name: str) -> None:
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
def test_statuses_match_the_contract(name: str, statuses: str) -> None:
    assert " ".join(sorted(OPERATIONS[name]["responses"])) == statuses


def test_operations_that_need_no_token() -> None:
    public = {name for name, operation in OPERATIONS.items() if not operation["security"]}
    assert public == {
        "health",
        "metrics",
        "openapiDocument",
        "asyncapiDocument",
        "page",
        "part",
    }
    assert {"query": []} in OPERATIONS["connect"]["security"]
    assert {"query": []} not in OPERATIONS["publish"]["security"]


def test_rate_limit_headers_are_described_for_counted_requests() -> None:
    for name, operation in OPERATIONS.items():
        for status, response in operation["responses"].items():
            assert ("X-RateLimit-Limit" in response.get("headers", {})) == (
                name not in ("health", "metrics")
            )
            assert ("Retry-After" in response.get("headers", {})) == (status == "429")


def test_patterns_are_valid_in_ecmascript() -> None:
    name = DOCUMENT["components"]["schemas"]["NewInstance"]["properties"]["name"]
    assert name["pattern"] == "^[A-Za-z0-9_-]{1,100}$"


def test_responses_have_all_members_and_no_others() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    listed = schemas["InstanceSummary"]
    assert listed["required"] == list(listed["properties"])
    assert listed["additionalProperties"] is False
    assert len(schemas["InstanceSettings"]["required"]) == 7


def test_request_settings_match_response_settings_and_are_optional() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    update = schemas["SettingsUpdate"]
    assert update["properties"].keys() == schemas["InstanceSettings"]["properties"].keys()
    assert "required" not in update or update["required"] == []
