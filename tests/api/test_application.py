"""The routes, and rules that hold for all of them; for their errors see test_errors.py."""

from types import SimpleNamespace
from typing import Any

import pytest

from ryze.api.application import create_app
from ryze.settings import Settings
from tests.clients import UPGRADE
from tests.conftest import JSON, Server


def _routes() -> list[Any]:
    app = create_app(SimpleNamespace(settings=Settings()))  # type: ignore[arg-type]
    return sorted(app.url_map.iter_rules(), key=lambda rule: rule.endpoint)


ROUTES = _routes()


def _each(routes: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=[route.endpoint for route in routes])


every_get_route = _each([route for route in ROUTES if "GET" in route.methods])


def path_of(route: Any) -> str:
    path: str = route.rule.replace("<name>", "demo").replace("<path:name>", "demo")
    return path.replace("<file>", "start.js")


def methods_of(route: Any) -> list[str]:
    return sorted(route.methods - {"HEAD"})


def test_routes_match_the_contract() -> None:
    routes = {f"{','.join(methods_of(route))} {route.rule}" for route in ROUTES}
    assert routes == {
        "POST /api/events/websocket/<name>",
        "GET /api/events/getWebsocket/<name>",
        "POST /api/instance/new",
        "GET /api/instance/list",
        "DELETE /api/instance/delete/<name>",
        "POST /api/instance/settings/<name>",
        "GET /api/instance/getSettings/<name>",
        "POST /api/instance/token/<name>",
        "POST /api/events/publish/<name>",
        "GET /health",
        "GET /openapi.json",
        "GET /asyncapi.json",
        "GET /docs",
        "GET /docs/<file>",
        "GET /metrics",
        "DELETE,OPTIONS,PATCH,POST,PUT,TRACE /ws/<path:name>",
    }


@every_get_route
async def test_upgrade_header_is_ignored_outside_of_websocket_paths(
    server: Server, route: Any
) -> None:
    """Hypercorn's own WebSockets, without token, limit and deadline, cannot be reached."""
    await server.create()
    plain = await server.request("GET", path_of(route))
    upgrade = await server.request("GET", path_of(route), headers=UPGRADE)
    assert upgrade.status == plain.status == 200
    refused = await server.request("GET", path_of(route), headers=UPGRADE, token=None)
    assert refused.status == (401 if route.rule.startswith("/api/") else 200)


async def test_absolute_request_target_is_accepted(server: Server) -> None:
    response = await server.request("GET", "http://test/api/instance/list?instanceName=a")
    assert response.error == (404, "Instance not found")
    assert (await server.request("GET", "HTTPS://test/health")).status == 200


@every_get_route
async def test_head_has_the_headers_of_get_and_no_body(server: Server, route: Any) -> None:
    await server.create()
    head = await server.request("HEAD", path_of(route))
    get = await server.request("GET", path_of(route))
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    refused = await server.request("HEAD", "/nowhere")
    assert (refused.status, refused.body) == (404, b"")


@pytest.mark.parametrize(
    "path", ["/api/instance/new", "/api/events/websocket/demo", "/api/events/publish/demo"]
)
class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" ",
            b"{",
            b"{}",
            b"[",
            b"null",
            b"true",
            b'"text"',
            b"1",
            b"[1]",
            b"{'enabled': true}",
            b'{"enabled": true, "name": "a", "event": "call.update", "data": {}} x',
            b'{"enabled": true, "name": "a", "event": "call.update", "data": {}, "x": NaN}',
            b'{"enabled": true, "name": "a", "event": "call.update", "data": {"x": "\xff"}}',
            b'{"enabled": true, "name": "a", "event": "call.update", "data": {}, "\xff": 1}',
            b'{"enabled": true, "name": "a", "event": "a", "data": {}, "x": "\xed\xa0\x80"}',
            b'\xef\xbb\xbf{"enabled": true, "name": "a", "event": "call.update", "data": {}}',
            '{"enabled": true, "name": "a", "event": "call.update", "data": {}}'.encode("utf-16"),
            b'{"enabled": true, "name": "a", "event": "call.update", "data": '
            + b'{"a":' * 100_000
            + b"1"
            + b"}" * 100_001,
        ],
        ids=range(19),
    )
    async def test_invalid_json_body_is_a_400(
        self, server: Server, demo: str, path: str, body: bytes
    ) -> None:
        response = await server.request("POST", path, body=body)
        assert response.error == (400, "Invalid request body")

    @pytest.mark.parametrize(
        "content_type",
        [
            None,
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "application/json-seq",
            "multipart/mixed; boundary=x",
            "json",
            ";application/json",
        ],
    )
    async def test_other_content_type_is_a_400(
        self, server: Server, demo: str, path: str, content_type: str | None
    ) -> None:
        json = {"enabled": True, "name": "a", "event": "call.update", "data": {}}
        headers = {"Content-Type": content_type}
        response = await server.request("POST", path, json=json, headers=headers)
        assert response.error == (400, "Invalid request body")

    @pytest.mark.parametrize(
        "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"]
    )
    async def test_content_type_may_have_parameters_and_any_case(
        self, server: Server, demo: str, path: str, content_type: str
    ) -> None:
        json = {"enabled": True, "name": "a", "event": "call.update", "data": {}}
        headers = {"Content-Type": content_type}
        response = await server.request("POST", path, json=json, headers=headers)
        assert response.status in (200, 201, 202)

    async def test_missing_body_is_a_400(self, server: Server, demo: str, path: str) -> None:
        response = await server.request("POST", path, headers=JSON)
        assert response.error == (400, "Invalid request body")

    async def test_exception_while_reading_a_body_is_a_500_and_the_server_goes_on(
        self, server: Server, demo: str, path: str
    ) -> None:
        await server.request("POST", path, body=b"[" * 1_000_000)
        assert (await server.request("GET", "/health")).status == 200
