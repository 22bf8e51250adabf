"""Every error of every route has the same shape (contract, section 1).

Each failure is tried on each route that it concerns. The routes are those of the application, so a
new one is covered without a change here; its scope is read from its handler.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import limits
import pytest

from ryze.api.application import create_app
from ryze.api.authorization import Scope
from ryze.errors import StoreError
from ryze.settings import Settings
from tests.clients import UPGRADE, Response, request_bytes
from tests.conftest import JSON, Server, StartServer

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")

# Publishing has a limit too, so that every counted response has the headers.
COUNTED = dict.fromkeys(
    ("global_rate_limit", "create_rate_limit", "publish_rate_limit"), limits.parse("100/minute")
)
ONE = dict.fromkeys(COUNTED, limits.parse("1/minute"))


@dataclass(frozen=True)
class Route:
    """A route of the application, with one of its methods.

    Args:
        scope: None for a WebSocket path, which the application only refuses.
    """

    endpoint: str
    rule: str
    method: str
    allowed: frozenset[str]
    scope: Scope | None

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"

    @property
    def path(self) -> str:
        return re.sub("<[^>]+>", "demo", self.rule)

    @property
    def is_counted(self) -> bool:
        return self.scope is not Scope.OPEN

    @property
    def needs_token(self) -> bool:
        return self.scope in (Scope.ACCOUNT, Scope.INSTANCE)

    @property
    def is_of_instance(self) -> bool:
        return self.needs_token and "<name>" in self.rule

    @property
    def has_body(self) -> bool:
        return self.needs_token and self.method in ("POST", "PUT", "PATCH")

    @property
    def is_ours(self) -> bool:
        """Is it no WebSocket path? There GET does not reach the application."""
        return not self.rule.startswith("/ws/")

    async def ask(self, server: Server, **request: Any) -> Response:
        return await server.request(self.method, self.path, **{"json": {}, **request})


def _routes() -> list[Route]:
    app = create_app(SimpleNamespace(settings=Settings()))  # type: ignore[arg-type]
    routes = []
    for rule in app.url_map.iter_rules():
        handler = app.view_functions[rule.endpoint]
        scope = handler.requirement.scope if hasattr(handler, "requirement") else None
        for method in rule.methods - {"HEAD"}:
            routes.append(Route(rule.endpoint, rule.rule, method, frozenset(rule.methods), scope))
    return sorted(routes, key=str)


Provoke = Callable[[Server, Route, pytest.MonkeyPatch], Awaitable[Response]]


@dataclass(frozen=True)
class Failure:
    """One kind of failure, and its response.

    Args:
        concerns: can it happen on this route?
        provoke: sends a request that fails in this way.
        settings: of the server.
        is_counted: the response has rate limit headers, if the route has a limit.
        headers: further headers of the response.
    """

    name: str
    status: int
    message: str
    concerns: Callable[[Route], bool]
    provoke: Provoke
    settings: dict[str, Any] = field(default_factory=dict)
    is_counted: bool = True
    headers: tuple[str, ...] = ()


def every(_: Route) -> bool:
    return True


def broken(error: Exception) -> Provoke:
    """Let the handler raise an error."""

    async def provoke(server: Server, route: Route, monkeypatch: pytest.MonkeyPatch) -> Response:
        async def handler(**_: str) -> None:
            raise error

        handlers = server.app.view_functions
        handler.__dict__.update(handlers[route.endpoint].__dict__)
        monkeypatch.setitem(handlers, route.endpoint, handler)
        return await route.ask(server)

    return provoke


async def crash_before(server: Server, route: Route, monkeypatch: pytest.MonkeyPatch) -> Response:
    def crash(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(server.services.rate_limits, "hit", crash)
    return await route.ask(server)


async def drain(server: Server, route: Route, monkeypatch: pytest.MonkeyPatch) -> Response:
    monkeypatch.setattr(server.services.drain, "_has_begun", True)
    return await route.ask(server)


async def repeat(server: Server, route: Route, _: pytest.MonkeyPatch) -> Response:
    await route.ask(server)
    return await route.ask(server)


def sending(*, exists: bool = True, **request: Any) -> Provoke:
    """Send a request with these arguments, with or without its instance."""

    async def provoke(server: Server, route: Route, _: pytest.MonkeyPatch) -> Response:
        if exists:
            await server.create()
        return await route.ask(server, **request)

    return provoke


async def another_method(server: Server, route: Route, _: pytest.MonkeyPatch) -> Response:
    taken = {r.method for r in ROUTES if r.rule == route.rule}
    for method in (method for method in METHODS if method not in taken):
        response = await server.request(method, route.path, json={})
        assert response.error == (405, "Method not allowed")
        assert {name.strip() for name in response.headers["allow"].split(",")} == route.allowed
    return response


async def beside(server: Server, route: Route, _: pytest.MonkeyPatch) -> Response:
    return await server.request(route.method, f"{route.path}/x/", json={})


FAILURES = [
    Failure("crash", 500, "Internal server error", every, broken(RuntimeError("a bug"))),
    Failure(
        "crash in a nursery",
        500,
        "Internal server error",
        every,
        broken(ExceptionGroup("in a nursery", [RuntimeError("a bug")])),
    ),
    Failure("database", 500, "Failed to get instance", every, broken(StoreError("no disk"))),
    Failure(
        "crash before the handler",
        500,
        "Internal server error",
        lambda route: route.is_counted,
        crash_before,
        is_counted=False,
    ),
    Failure("drain", 503, "Server is shutting down", lambda route: route.is_counted, drain),
    Failure(
        "rate limit",
        429,
        "Rate limit exceeded. Try again later.",
        lambda route: route.is_counted,
        repeat,
        settings=ONE,
        headers=("retry-after",),
    ),
    *(
        Failure(
            f"{name} token",
            401,
            "Invalid token",
            lambda route: route.needs_token,
            sending(token=token, exists=False),
        )
        for name, token in (("no", None), ("wrong", "wrong"))
    ),
    Failure(
        "unknown instance",
        404,
        "Instance not found",
        lambda route: route.is_of_instance,
        sending(exists=False),
    ),
    Failure(
        "content type",
        400,
        "Invalid request body",
        lambda route: route.has_body,
        sending(headers={"Content-Type": "text/plain"}),
    ),
    Failure(
        "broken body",
        400,
        "Invalid request body",
        lambda route: route.has_body,
        sending(json=None, body=b'{"name": "a'),
    ),
    Failure(
        "size",
        413,
        "Request body too large",
        lambda route: route.has_body,
        sending(json=None, body=b" " * 1001),
        settings={"max_body_bytes": 1000},
    ),
    Failure(
        "method",
        405,
        "Method not allowed",
        lambda route: route.is_ours,
        another_method,
        headers=("allow",),
    ),
    Failure(
        "unknown route", 404, "Not found", lambda route: route.is_ours and route.is_counted, beside
    ),
]

ROUTES = _routes()

CASES = [(failure, route) for failure in FAILURES for route in ROUTES if failure.concerns(route)]


@pytest.mark.parametrize(
    ("failure", "route"), CASES, ids=[f"{failure.name}, {route}" for failure, route in CASES]
)
async def test_failure_of_a_route_is_an_error_response(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, failure: Failure, route: Route
) -> None:
    server = await start_server(**{**COUNTED, **failure.settings})
    response = await failure.provoke(server, route, monkeypatch)
    assert response.error == (failure.status, failure.message)
    is_counted = failure.is_counted and (route.is_counted or failure.name == "method")
    assert ("x-ratelimit-limit" in response.headers) == is_counted
    assert set(failure.headers) <= response.headers.keys()
    monkeypatch.undo()
    # The server goes on.
    assert (await server.request("GET", "/health")).status == 200


def test_all_failures_and_all_routes_are_covered() -> None:
    for route in ROUTES:
        assert {failure.status for failure, it in CASES if it == route} >= {500}
    assert {failure.name for failure, _ in CASES} == {failure.name for failure in FAILURES}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/",
        "/ws",
        "/health/",
        "/API/instance/list",
        "/api/instance/list/",
        "/api//instance/list",
        "/api/instance/../instance/list",
        "/api/events/getwebsocket/demo",
        "/api/events/getWebsocket/",
        "/api/events/getWebsocket/a/b",
        "/api/events/getWebsocket/a%2Fb",
        "?x",
        "*",
        "http://[",
        "http://test",
        "x:y",
        "/%ff%00",
    ],
)
@pytest.mark.parametrize("headers", [{}, UPGRADE], ids=["plain", "upgrade"])
async def test_unknown_route_is_a_404(server: Server, path: str, headers: dict[str, str]) -> None:
    response = await server.request("GET", path, headers=headers)
    assert response.error == (404, "Not found")
    assert response.rate_limit == (100, 99)


async def test_unknown_route_is_a_404_without_token(server: Server) -> None:
    assert (await server.request("GET", "/nowhere", token=None)).error == (404, "Not found")
    assert (await server.request("GET", "/nowhere", token="wrong")).error == (404, "Not found")


class TestWebsocketPaths:
    """Requests to ``/ws/`` that are no upgrades."""

    @pytest.mark.parametrize("path", ["/ws/demo", "/ws/nobody", "/ws/demo/publish"])
    async def test_get_without_upgrade_is_a_426(self, server: Server, demo: str, path: str) -> None:
        for headers in ({}, JSON, {"Origin": "https://evil.example"}):
            response = await server.request("GET", path, token=None, headers=headers)
            assert response.error == (426, "Upgrade required")
            assert response.headers["upgrade"] == "websocket"

    @pytest.mark.parametrize("path", ["/ws/", "/ws/demo/", "/ws/demo/x", "/ws//demo"])
    async def test_get_of_another_websocket_path_is_a_404(
        self, server: Server, demo: str, path: str
    ) -> None:
        assert (await server.request("GET", path)).error == (404, "Not found")

    @pytest.mark.parametrize("method", [method for method in METHODS if method != "GET"])
    async def test_other_method_is_a_405(self, server: Server, demo: str, method: str) -> None:
        for path in ("/ws/demo", "/ws/nobody", "/ws/demo/publish"):
            for body in (None, b"x" * 100_000):
                response = await server.request(method, path, body=body)
                assert response.error == (405, "Method not allowed")
                assert method == "BREW" or response.headers["allow"] == "GET"
                assert response.rate_limit[0] == 100

    async def test_body_of_a_get_is_not_read_as_a_request(self, server: Server, demo: str) -> None:
        """The body is ignored, even if it looks like a request."""
        data = request_bytes("GET", "/ws/demo", JSON, body=request_bytes("GET", "/health"))
        assert (await server.raw(data)).error == (426, "Upgrade required")

    async def test_exception_before_an_upgrade_is_a_500(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*_: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(server.services.rate_limits, "hit", crash)
        assert (await server.try_to_connect()).error == (500, "Internal server error")
