"""CORS headers and preflights; tests/e2e/test_browser.py has the view of a real browser."""

import limits
import pytest

from ryze.errors import StoreError
from tests.clients import Response
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer

PAGE = "https://app.example"
OTHER_PAGE = "http://app.example:81"
FOREIGN = ["https://evil.example", "https://app.example:444", "http://app.example", "null", ""]

LIST = "/api/instance/list"
EXPOSED = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"

REFUSED = (403, "Origin not allowed")


@pytest.fixture
async def open_server(start_server: StartServer) -> Server:
    """Return a server with two allowed origins."""
    return await start_server(allowed_origins=(PAGE, OTHER_PAGE))


async def preflight(server: Server, path: str, origin: str = PAGE, method: str = "GET") -> Response:
    """Send the preflight of a browser, which has no token."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,token",
    }
    return await server.request("OPTIONS", path, token=None, headers=headers)


def cors(response: Response) -> dict[str, str]:
    """Return the CORS headers and ``Vary``."""
    return {
        name: value
        for name, value in response.headers.items()
        if name.startswith("access-control-") or name == "vary"
    }


def expected_for(origin: str) -> dict[str, str]:
    """Return the CORS headers of every response to a page of this origin."""
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": EXPOSED,
        "vary": "Origin",
    }


class TestPreflight:
    @pytest.mark.parametrize(
        ("path", "methods"),
        [
            (LIST, "GET, HEAD"),
            ("/api/instance/new", "POST"),
            ("/api/instance/delete/demo", "DELETE"),
            ("/api/events/publish/nobody", "POST"),
            ("/health", "GET, HEAD"),
        ],
    )
    async def test_preflight_names_the_methods_of_the_route(
        self, open_server: Server, path: str, methods: str
    ) -> None:
        response = await preflight(open_server, path, method="PUT")
        assert (response.status, response.body) == (204, b"")
        assert cors(response) == expected_for(PAGE) | {
            "access-control-allow-headers": "Content-Type, Authorization, token",
            "access-control-allow-methods": methods,
            "access-control-max-age": "600",
        }
        assert not {"content-length", "content-type", "x-ratelimit-limit"} & response.headers.keys()

    @pytest.mark.parametrize("path", ["/nowhere", "/api/instance/list/", "/ws/demo", "/ws/"])
    async def test_preflight_of_an_unknown_route_is_accepted(
        self, open_server: Server, path: str
    ) -> None:
        """A GET is sent without an allowed method, so the page can read its 404."""
        response = await preflight(open_server, path)
        assert response.status == 204
        assert "access-control-allow-methods" not in response.headers
        refused = await open_server.request("GET", path, headers={"Origin": PAGE})
        assert refused.status in (404, 426)
        assert cors(refused) == expected_for(PAGE)

    @pytest.mark.parametrize("origin", FOREIGN)
    async def test_preflight_of_a_foreign_origin_is_refused(
        self, open_server: Server, origin: str
    ) -> None:
        response = await preflight(open_server, LIST, origin)
        assert response.error == REFUSED
        assert cors(response) == {"vary": "Origin"}

    async def test_no_origin_is_allowed_without_the_setting(self, server: Server) -> None:
        for origin in (PAGE, "http://test", server.settings.base_url):
            assert (await preflight(server, LIST, origin)).error == REFUSED

    async def test_request_follows_the_preflight_on_one_connection(
        self, open_server: Server
    ) -> None:
        client = await open_server.open()
        headers = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
        for _ in range(2):
            assert (await client.request("OPTIONS", LIST, headers)).status == 204
            token = {"Origin": PAGE, "token": ACCOUNT_TOKEN}
            assert (await client.request("GET", LIST, token)).status == 200

    async def test_preflights_are_not_rate_limited(self, start_server: StartServer) -> None:
        limit = limits.parse("1/minute")
        server = await start_server(allowed_origins=(PAGE,), global_rate_limit=limit)
        for origin in (PAGE, *FOREIGN):
            assert (await preflight(server, LIST, origin)).status in (204, 403)
        assert (await server.request("GET", LIST, token=None)).rate_limit == (1, 0)
        assert (await server.request("GET", LIST, token=None)).status == 429
        assert (await preflight(server, LIST)).status == 204

    @pytest.mark.parametrize(
        "headers",
        [{}, {"Origin": PAGE}, {"Access-Control-Request-Method": "GET"}],
        ids=["neither", "origin", "method"],
    )
    async def test_other_options_are_ordinary_requests(
        self, open_server: Server, headers: dict[str, str]
    ) -> None:
        response = await open_server.request("OPTIONS", LIST, headers=headers)
        assert response.error == (405, "Method not allowed")
        assert response.rate_limit == (100, 99)


class TestResponses:
    @pytest.mark.parametrize("origin", [PAGE, OTHER_PAGE, "HTTPS://App.Example"])
    async def test_allowed_origin_is_named(self, open_server: Server, origin: str) -> None:
        response = await open_server.request("GET", LIST, headers={"Origin": origin})
        assert response.status == 200
        assert cors(response) == expected_for(origin)

    @pytest.mark.parametrize("origin", [*FOREIGN, None])
    async def test_other_origins_only_get_vary(
        self, open_server: Server, origin: str | None
    ) -> None:
        response = await open_server.request("GET", LIST, headers={"Origin": origin})
        assert response.status == 200
        assert cors(response) == {"vary": "Origin"}

    @pytest.mark.parametrize("origin", [*FOREIGN, PAGE, None])
    async def test_without_the_setting_there_are_no_cors_headers(
        self, server: Server, origin: str | None
    ) -> None:
        assert cors(await server.request("GET", LIST, headers={"Origin": origin})) == {}
        assert cors(await server.request("GET", "/ws/demo", headers={"Origin": origin})) == {}

    @pytest.mark.parametrize("origin", [PAGE, "null", None])
    async def test_star_allows_any_origin(
        self, start_server: StartServer, origin: str | None
    ) -> None:
        server = await start_server(allowed_origins=("*",))
        expected = {
            "access-control-allow-origin": "*",
            "access-control-expose-headers": EXPOSED,
        }
        response = await server.request("GET", LIST, headers={"Origin": origin})
        assert cors(response) == expected
        if origin:
            response = await preflight(server, LIST, origin)
            assert response.status == 204
            assert response.headers["access-control-allow-origin"] == "*"

    async def test_errors_have_cors_headers(
        self, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = await start_server(
            allowed_origins=(PAGE,), global_rate_limit=limits.parse("6/minute"), max_body_bytes=10
        )
        page = {"Origin": PAGE}
        new = "/api/instance/new"
        responses = [
            await server.request("GET", LIST, token=None, headers=page),
            await server.request("POST", new, json={}, headers=page),
            await server.request("POST", new, body=b"x" * 11, headers=page),
            await server.request("GET", "/nowhere", headers=page),
            await server.request("PUT", LIST, headers=page),
            await server.request("GET", "/ws/demo", headers=page),
            await server.try_to_connect("/ws/demo", headers={**page, "token": "wrong"}),
        ]

        async def fail(*_: object) -> None:
            raise StoreError("the disk is gone")

        def crash(*_: object) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(server.services.registry, "find", crash)
            patch.setattr(server.services.database, "write", fail)
            path = "/api/events/websocket/demo"
            responses.append(await server.request("POST", path, json={}, headers=page))
        responses += [await server.request("GET", LIST, headers=page) for _ in range(3)]
        assert [response.error[0] for response in responses[:-3]] == [
            *(401, 400, 413, 404, 405, 426, 401),
            500,
        ]
        assert responses[-1].status == 429
        assert "retry-after" in responses[-1].headers
        for response in responses:
            assert cors(response) == expected_for(PAGE)

    async def test_requests_without_preflight_have_no_effect(self, open_server: Server) -> None:
        """Content types of forms, without custom headers."""
        await open_server.create()
        body = b'{"enabled": false}'
        kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
        for kind in kinds:
            headers = {"Origin": FOREIGN[0], "Content-Type": kind}
            path = "/api/events/websocket/demo?token=account-token"
            response = await open_server.request(
                "POST", path, body=body, token=None, headers=headers
            )
            assert response.error == (401, "Invalid token")
            assert cors(response) == {"vary": "Origin"}
