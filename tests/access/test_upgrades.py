"""Admission of upgrade requests: each row of the contract's table, in its order."""

import base64
from urllib.parse import quote

import pytest

from ryze.changes import AccountTokenRevoked
from ryze.disconnects import RESTARTING
from ryze.records import Instance
from ryze.store import hash_token
from tests.clients import UPGRADE, WebSocketClient, request_bytes
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer, until
from tests.fakes import call_at_next_checkpoint

INVALID = (400, "Invalid WebSocket handshake")
REQUIRED = (426, "Upgrade required")
TOO_MANY = (503, "Too many connections")


async def test_101_has_exactly_these_headers(server: Server, demo: str) -> None:
    response = (await server.connect()).response
    assert list(response.headers) == [
        "upgrade",
        "connection",
        "sec-websocket-accept",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ]
    # The creation of the instance counts against another limit.
    assert response.rate_limit == (100, 99)


class TestHandshake:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"Sec-WebSocket-Key": None},
            {"Sec-WebSocket-Key": ""},
            {"Sec-WebSocket-Key": "not base64!"},
            {"Sec-WebSocket-Key": base64.b64encode(b"x" * 15).decode()},
            {"Sec-WebSocket-Key": base64.b64encode(b"x" * 17).decode()},
            {"Sec-WebSocket-Version": None},
            {"Connection": None},
            {"Connection": "keep-alive"},
            {"Upgrade": "h2c"},
            {"Upgrade": "web socket"},
            {"Content-Length": "1"},
            {"Transfer-Encoding": "chunked"},
        ],
        ids=str,
    )
    async def test_malformed_handshake_is_a_400(
        self, server: Server, demo: str, wrong: dict[str, str | None]
    ) -> None:
        response = await server.try_to_connect(headers=wrong)
        assert response.error == INVALID
        assert response.rate_limit[0] == 100

    @pytest.mark.parametrize(
        "unusual",
        [
            {"Connection": "keep-alive, Upgrade"},
            {"Connection": "upgrade", "Upgrade": "WebSocket"},
            {"Upgrade": "h2c, websocket"},
            {"Content-Length": "0"},
            {"Sec-WebSocket-Protocol": "a, b"},
            {"Sec-WebSocket-Extensions": "permessage-deflate"},
        ],
        ids=str,
    )
    async def test_unusual_well_formed_handshake_is_accepted(
        self, server: Server, demo: str, unusual: dict[str, str | None]
    ) -> None:
        response = await server.try_to_connect(headers=unusual)
        assert response.status == 101
        assert not {"sec-websocket-protocol", "sec-websocket-extensions"} & response.headers.keys()

    @pytest.mark.parametrize("path", ["/ws/demo", "/ws/nobody"])
    async def test_request_without_upgrade_header_is_a_426(
        self, server: Server, demo: str, path: str
    ) -> None:
        response = await server.request("GET", path)
        assert response.error == REQUIRED
        assert response.headers["upgrade"] == "websocket"
        assert "upgrade" in response.headers["connection"].lower()
        assert response.rate_limit[0] == 100

    @pytest.mark.parametrize("version", ["8", "12", "14", "x", "13, 8"])
    async def test_other_version_is_a_426_that_names_ours(
        self, server: Server, demo: str, version: str
    ) -> None:
        response = await server.try_to_connect(headers={"Sec-WebSocket-Version": version})
        assert response.error == REQUIRED
        assert response.headers["sec-websocket-version"] == "13"

    async def test_http_1_0_is_a_400(self, server: Server, demo: str) -> None:
        headers = {"token": ACCOUNT_TOKEN, **UPGRADE}
        data = request_bytes("GET", "/ws/demo", headers, version="1.0")
        assert (await server.raw(data)).error == INVALID

    async def test_two_keys_are_a_400(self, server: Server, demo: str) -> None:
        data = request_bytes("GET", "/ws/demo", {"token": ACCOUNT_TOKEN, **UPGRADE})
        key = f"Sec-WebSocket-Key: {UPGRADE['Sec-WebSocket-Key']}\r\n".encode()
        assert (await server.raw(data.replace(key, key * 2))).error == INVALID

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
    async def test_other_method_is_a_400_with_upgrade_header_and_a_405_without(
        self, server: Server, demo: str, method: str
    ) -> None:
        response = await server.request(method, "/ws/demo", headers=UPGRADE)
        assert response.status == 400
        if method != "HEAD":
            assert response.error == INVALID
        assert response.rate_limit[0] == 100
        response = await server.request(method, "/ws/demo")
        assert (response.status, response.headers["allow"]) == (405, "GET")

    async def test_handshake_is_checked_before_the_token(self, server: Server, demo: str) -> None:
        assert (await server.request("GET", "/ws/demo", token="wrong")).error == REQUIRED


class TestOrigin:
    @pytest.mark.parametrize("origin", [None, "", "http://test", "HTTPS://TEST"])
    async def test_no_origin_and_the_same_host_are_allowed(
        self, server: Server, demo: str, origin: str | None
    ) -> None:
        assert (await server.try_to_connect(headers={"Origin": origin})).status == 101

    @pytest.mark.parametrize(
        "origin",
        [
            "null",
            "http://evil",
            "http://test.evil",
            "http://test:81",
            "http://test@evil",
            "http://evil/test",
            "http://[",
            "http://test:x",
            "test",
            "http://test/",
        ],
    )
    async def test_foreign_origin_is_a_403(self, server: Server, demo: str, origin: str) -> None:
        response = await server.try_to_connect(headers={"Origin": origin})
        assert response.error == (403, "Origin not allowed")
        assert response.rate_limit[0] == 100

    async def test_port_is_part_of_the_host(self, server: Server, demo: str) -> None:
        host = {"Host": "a:81", "Origin": "http://a:81"}
        assert (await server.try_to_connect(headers=host)).status == 101
        assert (await server.try_to_connect(headers={**host, "Host": "a"})).status == 403

    async def test_origins_of_the_setting_are_allowed(self, start_server: StartServer) -> None:
        server = await start_server(allowed_origins=("https://app.example", "null"))
        await server.create()
        for origin in ("https://app.example", "HTTPS://App.Example", "http://test"):
            assert (await server.try_to_connect(headers={"Origin": origin})).status == 101
        for origin in ("http://app.example", "https://app.example:444", "https://example"):
            assert (await server.try_to_connect(headers={"Origin": origin})).status == 403

    async def test_star_allows_any_origin(self, start_server: StartServer) -> None:
        server = await start_server(allowed_origins=("*",))
        await server.create()
        for origin in ("http://evil", "null", "http://["):
            assert (await server.try_to_connect(headers={"Origin": origin})).status == 101

    async def test_origin_is_checked_before_the_token(self, server: Server, demo: str) -> None:
        headers = {"Origin": "http://evil", "token": "wrong"}
        assert (await server.try_to_connect(headers=headers)).status == 403


class TestToken:
    @pytest.mark.parametrize("which", ["account", "instance"])
    async def test_token_in_header_bearer_and_query(
        self, server: Server, demo: str, which: str
    ) -> None:
        token = ACCOUNT_TOKEN if which == "account" else demo
        ways: list[tuple[str, dict[str, str | None]]] = [
            ("", {"token": token}),
            ("", {"token": f"  {token}\t"}),
            ("", {"token": None, "Authorization": f"Bearer {token}"}),
            (f"?token={token}", {"token": None}),
            (f"?token=%20{token}%20", {"token": None}),
            (f"?a=b&token={token}&c", {"token": " "}),
            ("?token=wrong", {"token": token}),
            ("?token=wrong", {"token": None, "Authorization": f"bearer {token}"}),
            ("", {"token": token, "Authorization": "Bearer wrong"}),
        ]
        for query, headers in ways:
            response = await server.try_to_connect(f"/ws/demo{query}", headers)
            assert response.status == 101, (query, headers)
            assert response.rate_limit[0] == 100

    async def test_missing_or_wrong_token_is_a_401(self, server: Server, demo: str) -> None:
        other = await server.create("other")
        ways: list[tuple[str, dict[str, str | None]]] = [
            ("", {"token": None}),
            ("", {"token": "wrong"}),
            ("", {"token": other}),
            ("?token=", {"token": None}),
            ("?token=wrong", {"token": None}),
            (f"?token={ACCOUNT_TOKEN}", {"token": "wrong"}),
            (f"?token={ACCOUNT_TOKEN}", {"token": None, "Authorization": "Bearer wrong"}),
            (f"?Token={ACCOUNT_TOKEN}", {"token": None}),
            (f"?token=wrong&token={ACCOUNT_TOKEN}", {"token": None}),
            (f"?token=%00%ff{ACCOUNT_TOKEN}", {"token": None}),
            ("", {"token": None, "Authorization": ACCOUNT_TOKEN}),
        ]
        for query, headers in ways:
            response = await server.try_to_connect(f"/ws/demo{query}", headers)
            assert response.error == (401, "Invalid token"), (query, headers)
            assert response.rate_limit[0] == 100

    async def test_token_with_special_characters_in_the_query(self, server: Server) -> None:
        token = "a+b&c=d%41/?#"
        await server.create(token=token)
        target = f"/ws/demo?token={quote(token, safe='')}"
        assert (await server.try_to_connect(target, {"token": None})).status == 101

    async def test_token_is_not_logged(
        self, server: Server, demo: str, logs: list[dict[str, object]]
    ) -> None:
        for target in (f"/ws/demo?token={demo}", f"/ws/nobody?token={demo}"):
            await server.try_to_connect(target, {"token": None})
        assert demo not in str(logs)


class TestInstance:
    @pytest.mark.parametrize(
        "name", ["nobody", "DEMO", "demo%2Fx", "demo%0A", "a%0Ab", "%FF", "a" * 200]
    )
    async def test_unknown_instance_is_a_404(self, server: Server, demo: str, name: str) -> None:
        response = await server.try_to_connect(f"/ws/{name}")
        assert response.error == (404, "Instance not found")
        assert response.rate_limit[0] == 100

    @pytest.mark.parametrize(
        "path", ["/ws/", "/ws/?token=x", "/ws/demo/", "/ws/demo/x", "/ws//demo"]
    )
    async def test_unknown_path_is_a_404(self, server: Server, demo: str, path: str) -> None:
        response = await server.try_to_connect(path)
        assert response.error == (404, "Not found")
        assert response.rate_limit[0] == 100

    async def test_escaped_name_is_decoded(self, server: Server, demo: str) -> None:
        assert (await server.try_to_connect("/ws/%64emo")).status == 101

    @pytest.mark.parametrize("configured", [True, False])
    async def test_disabled_websocket_is_a_400_with_instructions(
        self, server: Server, configured: bool
    ) -> None:
        block = {"websocketEnabled": False} if configured else {"websocketEnabled": None}
        await server.create("My-Instance_1", **block)
        response = await server.try_to_connect("/ws/My-Instance_1")
        assert response.error == (
            400,
            "WebSocket is not enabled for this instance. "
            "Configure it first using POST /api/events/websocket/My-Instance_1",
        )
        assert response.rate_limit[0] == 100
        await server.configure("My-Instance_1", enabled=True)
        assert (await server.try_to_connect("/ws/My-Instance_1")).status == 101


class TestCaps:
    async def test_cap_of_all_connections(self, start_server: StartServer) -> None:
        server = await start_server(max_connections=2)
        await server.create()
        await server.create("other")
        first = await server.connect()
        await server.connect("other")
        for name in ("demo", "other"):
            response = await server.try_to_connect(f"/ws/{name}")
            assert response.error == TOO_MANY
            assert response.rate_limit[0] == 100
        assert (await server.try_to_connect("/ws/nobody")).status == 404
        await first.stream.aclose()
        await until(lambda: server.websockets.connections == 1)
        assert (await server.connect()).response.status == 101

    async def test_closing_connections_count(self, start_server: StartServer) -> None:
        server = await start_server(max_connections=1, close_grace_seconds=60)
        await server.create()
        client = await server.connect()
        server.hub.outboxes()[0].close(RESTARTING)
        assert (await server.try_to_connect()).error == TOO_MANY
        assert await client.closed() == (1012, "restarting")
        await until(lambda: server.websockets.connections == 0)
        assert (await server.try_to_connect()).status == 101

    async def test_cap_per_instance(self, start_server: StartServer) -> None:
        server = await start_server(max_connections_per_instance=1)
        await server.create()
        await server.create("other")
        client = await server.connect()
        response = await server.try_to_connect()
        assert response.error == TOO_MANY
        assert response.rate_limit[0] == 100
        await server.connect("other")
        await client.stream.aclose()
        await until(lambda: server.websockets.connections == 1)
        assert (await server.try_to_connect()).status == 101

    async def test_producers_count_against_the_cap_of_their_instance(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(max_connections_per_instance=1)
        await server.create()
        producer = await server.connect("demo/publish")
        for name in ("demo", "demo/publish"):
            assert (await server.try_to_connect(f"/ws/{name}")).error == TOO_MANY
        await producer.stream.aclose()
        await until(lambda: server.websockets.connections == 0)
        assert (await server.try_to_connect()).status == 101


@pytest.mark.parametrize("before", ["", "GET /health"], ids=["fresh", "kept alive"])
@pytest.mark.parametrize("suffix", ["", "/publish"], ids=["subscriber", "producer"])
async def test_token_revoked_right_after_the_admission_ends_the_connection(
    server: Server, demo: str, monkeypatch: pytest.MonkeyPatch, before: str, suffix: str
) -> None:
    """There is no checkpoint between the checks and the moment the hub knows the connection."""
    find = server.services.registry.find

    def find_and_revoke(account_id: int, name: str) -> Instance | None:
        token = AccountTokenRevoked(hash_token(ACCOUNT_TOKEN))
        call_at_next_checkpoint(lambda: server.hub.follow(token))
        return find(account_id, name)

    client = await server.open()
    if before:
        await client.request(*before.split())
    monkeypatch.setattr(server.services.registry, "find", find_and_revoke)
    headers = {"token": ACCOUNT_TOKEN, **UPGRADE}
    response = await client.request("GET", f"/ws/demo{suffix}", headers)
    assert await WebSocketClient(client, response).closed() == (4501, "token revoked")
