"""Authorization: every way to send a token, on every route that requires one."""

from typing import Any

import pytest

from ryze.store import hash_token, insert_account
from tests.conftest import ACCOUNT_TOKEN, Server

LIST = "/api/instance/list"

# method, path, body of a request that succeeds with the TokenAccount
ACCOUNT_ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/api/instance/new", {"name": "other"}),
    ("DELETE", "/api/instance/delete/demo", None),
    ("POST", "/api/instance/token/demo", None),
]
INSTANCE_ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/api/events/websocket/demo", {"enabled": True}),
    ("GET", "/api/events/getWebsocket/demo", None),
    ("POST", "/api/events/publish/demo", {"event": "call.update", "data": {}}),
    ("GET", LIST, None),
]
NAMED_ROUTES = [route for route in INSTANCE_ROUTES + ACCOUNT_ROUTES if route[1].endswith("/demo")]


def _ids(route: Any) -> str:
    return str(route[1]) if isinstance(route, tuple) else str(route)


async def add_account(server: Server, name: str, token: str, quota: int | None = None) -> None:
    """Create another account, as the command line does; the server notices it."""
    await server.services.database.write(insert_account, name, hash_token(token), quota)
    await server.services.registry._load_accounts()


@pytest.mark.parametrize("route", ACCOUNT_ROUTES + INSTANCE_ROUTES, ids=_ids)
class TestTokens:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"token": ""},
            {"token": " "},
            {"token": "wrong"},
            {"token": ACCOUNT_TOKEN.upper()},
            {"token": ACCOUNT_TOKEN[:-1]},
            {"token": "\xe9\xff"},
            {"Authorization": ACCOUNT_TOKEN},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {ACCOUNT_TOKEN}"},
            {"Authorization": f"Bearer{ACCOUNT_TOKEN}"},
            {"token": "wrong", "Authorization": f"Bearer {ACCOUNT_TOKEN}"},
            {"Cookie": f"token={ACCOUNT_TOKEN}"},
        ],
        ids=str,
    )
    async def test_missing_or_invalid_token_is_a_401(
        self, server: Server, demo: str, route: Any, headers: dict[str, str]
    ) -> None:
        method, path, json = route
        response = await server.request(method, path, json=json, token=None, headers=headers)
        assert response.error == (401, "Invalid token")

    async def test_token_in_query_is_accepted_for_websockets_only(
        self, server: Server, demo: str, route: Any
    ) -> None:
        method, path, json = route
        path = f"{path}?token={ACCOUNT_TOKEN}"
        response = await server.request(method, path, json=json, token=None)
        assert response.error == (401, "Invalid token")

    @pytest.mark.parametrize(
        "headers",
        [
            {"token": ACCOUNT_TOKEN},
            {"TOKEN": f" \t {ACCOUNT_TOKEN} \t "},
            {"Authorization": f"Bearer {ACCOUNT_TOKEN}"},
            {"authorization": f"  bearer   {ACCOUNT_TOKEN}  "},
            {"token": "  ", "Authorization": f"BEARER {ACCOUNT_TOKEN}"},
            {"token": ACCOUNT_TOKEN, "Authorization": "Bearer wrong"},
        ],
        ids=str,
    )
    async def test_account_token_is_accepted_in_every_header(
        self, server: Server, demo: str, route: Any, headers: dict[str, str]
    ) -> None:
        method, path, json = route
        response = await server.request(method, path, json=json, token=None, headers=headers)
        assert response.status in (200, 201, 202)
        assert response.json["success"] is True


@pytest.mark.parametrize("route", INSTANCE_ROUTES, ids=_ids)
async def test_instance_token_is_accepted_for_its_instance(
    server: Server, demo: str, route: Any
) -> None:
    method, path, json = route
    response = await server.request(method, path, json=json, token=demo)
    assert response.status in (200, 202)
    bearer = {"Authorization": f"Bearer {demo}"}
    again = await server.request(method, path, json=json, token=None, headers=bearer)
    assert again.status in (200, 202)


@pytest.mark.parametrize("route", ACCOUNT_ROUTES, ids=_ids)
async def test_instance_token_is_a_401_on_account_routes(
    server: Server, demo: str, route: Any
) -> None:
    method, path, json = route
    response = await server.request(method, path, json=json, token=demo)
    assert response.error == (401, "Invalid token")


@pytest.mark.parametrize("route", NAMED_ROUTES, ids=_ids)
class TestNamedInstance:
    async def test_token_of_another_instance_is_a_401(
        self, server: Server, demo: str, route: Any
    ) -> None:
        other = await server.create("other")
        method, path, json = route
        response = await server.request(method, path, json=json, token=other)
        assert response.error == (401, "Invalid token")

    async def test_instance_token_for_an_unknown_name_is_a_401(
        self, server: Server, demo: str, route: Any
    ) -> None:
        """A TokenInstance must not reveal which names exist."""
        method, path, json = route
        path = path.replace("/demo", "/nobody")
        response = await server.request(method, path, json=json, token=demo)
        assert response.error == (401, "Invalid token")

    async def test_instance_of_another_account_is_a_404(
        self, server: Server, demo: str, route: Any
    ) -> None:
        await add_account(server, "tenant", "tenant-token")
        method, path, json = route
        response = await server.request(method, path, json=json, token="tenant-token")
        assert response.error == (404, "Instance not found")
        theirs = await server.request(
            "POST", "/api/instance/new", json={"name": "demo"}, token="tenant-token"
        )
        assert theirs.status == 201
        if method != "DELETE":
            assert (await server.request(method, path, json=json, token="tenant-token")).status in (
                200,
                202,
                404,
            )
        # A name that both accounts have is still two instances.
        publish = "/api/events/publish/demo"
        event = {"event": "call.update", "data": {"whose": "theirs"}}
        ours = await server.connect()
        response = await server.request("POST", publish, json=event, token="tenant-token")
        assert response.json["clients"] == 0
        assert await ours.is_silent()

    @pytest.mark.parametrize(
        "name",
        ["nobody", "DEMO", "demo%20", "de%0Amo", "demo%0A", "%0Ademo", "%F0%9F%98%80", "a" * 101],
    )
    async def test_unknown_name_is_a_404(
        self, server: Server, demo: str, route: Any, name: str
    ) -> None:
        method, path, json = route
        response = await server.request(method, path.replace("/demo", f"/{name}"), json=json)
        assert response.error == (404, "Instance not found")

    @pytest.mark.parametrize("name", ["demo/x", "demo%2Fx", "demo/", "%2Fdemo"])
    async def test_name_with_a_slash_is_another_route(
        self, server: Server, demo: str, route: Any, name: str
    ) -> None:
        method, path, json = route
        response = await server.request(method, path.replace("/demo", f"/{name}"), json=json)
        assert response.error == (404, "Not found")

    async def test_percent_encoded_name_is_decoded(
        self, server: Server, demo: str, route: Any
    ) -> None:
        method, path, json = route
        response = await server.request(method, path.replace("/demo", "/d%65mo"), json=json)
        assert response.status in (200, 202)

    async def test_token_is_checked_before_the_instance_and_the_instance_before_the_body(
        self, server: Server, demo: str, route: Any
    ) -> None:
        method, path, _ = route
        unknown = path.replace("/demo", "/nobody")
        assert (await server.request(method, unknown, body=b"{", token=None)).status == 401
        assert (await server.request(method, unknown, body=b"{")).status == 404


async def test_handler_without_a_requirement_fails_instead_of_being_public(server: Server) -> None:
    calls: list[str] = []

    async def handler() -> str:
        calls.append("called")
        return ""

    # Quart accepts no new route once it serves; the handler of an existing one can be replaced.
    server.app.view_functions["health.health"] = handler
    for token in (ACCOUNT_TOKEN, None):
        response = await server.request("GET", "/health", token=token)
        assert response.status == 500
    assert calls == []
