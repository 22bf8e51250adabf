"""Who may open a WebSocket: each row of the contract's table, in its order."""

import base64
from urllib.parse import quote

import pytest

from tests.clients import UPGRADE, request_bytes
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer, until

INVALID = (400, "Invalid WebSocket handshake")
REQUIRED = (426, "Upgrade required")


async def test_the_101_to_its_last_header(server: Server, demo: str) -> None:
    answer = (await server.connect()).response
    assert list(answer.headers) == [
        "upgrade",
        "connection",
        "sec-websocket-accept",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ]
    # Of the instance's creation nothing: that has a limit of its own.
    assert answer.rate_limit == (100, 99)


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
    async def test_what_is_malformed_is_a_400(
        self, server: Server, demo: str, wrong: dict[str, str | None]
    ) -> None:
        answer = await server.try_to_connect(headers=wrong)
        assert answer.error == INVALID
        assert answer.rate_limit[0] == 100

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
    async def test_what_is_unusual_is_well(
        self, server: Server, demo: str, unusual: dict[str, str | None]
    ) -> None:
        answer = await server.try_to_connect(headers=unusual)
        assert answer.status == 101
        assert not {"sec-websocket-protocol", "sec-websocket-extensions"} & answer.headers.keys()

    @pytest.mark.parametrize("path", ["/ws/demo", "/ws/nobody"])
    async def test_without_an_upgrade_header_it_is_a_426(
        self, server: Server, demo: str, path: str
    ) -> None:
        answer = await server.request("GET", path)
        assert answer.error == REQUIRED
        assert answer.headers["upgrade"] == "websocket"
        assert "upgrade" in answer.headers["connection"].lower()
        assert answer.rate_limit[0] == 100

    @pytest.mark.parametrize("version", ["8", "12", "14", "x", "13, 8"])
    async def test_another_version_is_a_426_that_names_ours(
        self, server: Server, demo: str, version: str
    ) -> None:
        answer = await server.try_to_connect(headers={"Sec-WebSocket-Version": version})
        assert answer.error == REQUIRED
        assert answer.headers["sec-websocket-version"] == "13"

    async def test_http_1_0_is_a_400(self, server: Server, demo: str) -> None:
        headers = {"token": ACCOUNT_TOKEN, **UPGRADE}
        data = request_bytes("GET", "/ws/demo", headers, version="1.0")
        assert (await server.raw(data)).error == INVALID

    async def test_two_keys_are_none(self, server: Server, demo: str) -> None:
        data = request_bytes("GET", "/ws/demo", {"token": ACCOUNT_TOKEN, **UPGRADE})
        key = f"Sec-WebSocket-Key: {UPGRADE['Sec-WebSocket-Key']}\r\n".encode()
        assert (await server.raw(data.replace(key, key * 2))).error == INVALID

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
    async def test_another_method_is_a_400_with_an_upgrade_and_a_405_without(
        self, server: Server, demo: str, method: str
    ) -> None:
        answer = await server.request(method, "/ws/demo", headers=UPGRADE)
        assert answer.status == 400
        if method != "HEAD":
            assert answer.error == INVALID
        assert answer.rate_limit[0] == 100
        answer = await server.request(method, "/ws/demo")
        assert (answer.status, answer.headers["allow"]) == (405, "GET")

    async def test_the_handshake_comes_before_the_token(self, server: Server, demo: str) -> None:
        assert (await server.request("GET", "/ws/demo", token="wrong")).error == REQUIRED


class TestOrigin:
    @pytest.mark.parametrize("origin", [None, "", "http://test", "HTTPS://TEST"])
    async def test_none_and_the_same_host_are_allowed(
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
    async def test_another_is_a_403(self, server: Server, demo: str, origin: str) -> None:
        answer = await server.try_to_connect(headers={"Origin": origin})
        assert answer.error == (403, "Origin not allowed")
        assert answer.rate_limit[0] == 100

    async def test_the_port_is_a_part_of_the_host(self, server: Server, demo: str) -> None:
        host = {"Host": "a:81", "Origin": "http://a:81"}
        assert (await server.try_to_connect(headers=host)).status == 101
        assert (await server.try_to_connect(headers={**host, "Host": "a"})).status == 403

    async def test_those_in_the_settings_are_allowed(self, start_server: StartServer) -> None:
        server = await start_server(allowed_origins=("https://app.example", "null"))
        await server.create()
        for origin in ("https://app.example", "HTTPS://App.Example", "http://test"):
            assert (await server.try_to_connect(headers={"Origin": origin})).status == 101
        for origin in ("http://app.example", "https://app.example:444", "https://example"):
            assert (await server.try_to_connect(headers={"Origin": origin})).status == 403

    async def test_a_star_allows_any(self, start_server: StartServer) -> None:
        server = await start_server(allowed_origins=("*",))
        await server.create()
        for origin in ("http://evil", "null", "http://["):
            assert (await server.try_to_connect(headers={"Origin": origin})).status == 101

    async def test_the_origin_comes_before_the_token(self, server: Server, demo: str) -> None:
        headers = {"Origin": "http://evil", "token": "wrong"}
        assert (await server.try_to_connect(headers=headers)).status == 403


class TestToken:
    @pytest.mark.parametrize("which", ["account", "instance"])
    async def test_every_way_to_send_it(self, server: Server, demo: str, which: str) -> None:
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
            answer = await server.try_to_connect(f"/ws/demo{query}", headers)
            assert answer.status == 101, (query, headers)
            assert answer.rate_limit[0] == 100

    async def test_no_valid_one_is_a_401(self, server: Server, demo: str) -> None:
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
            answer = await server.try_to_connect(f"/ws/demo{query}", headers)
            assert answer.error == (401, "Invalid token"), (query, headers)
            assert answer.rate_limit[0] == 100

    async def test_a_token_of_odd_signs_can_stand_in_a_query(self, server: Server) -> None:
        token = "a+b&c=d%41/?#"
        await server.create(token=token)
        target = f"/ws/demo?token={quote(token, safe='')}"
        assert (await server.try_to_connect(target, {"token": None})).status == 101

    async def test_it_is_not_in_the_log(
        self, server: Server, demo: str, logs: list[dict[str, object]]
    ) -> None:
        for target in (f"/ws/demo?token={demo}", f"/ws/nobody?token={demo}"):
            await server.try_to_connect(target, {"token": None})
        assert demo not in str(logs)


class TestInstance:
    @pytest.mark.parametrize(
        "name", ["nobody", "DEMO", "demo%2Fx", "demo%0A", "a%0Ab", "%FF", "a" * 200]
    )
    async def test_an_unknown_one_is_a_404(self, server: Server, demo: str, name: str) -> None:
        answer = await server.try_to_connect(f"/ws/{name}")
        assert answer.error == (404, "Instance not found")
        assert answer.rate_limit[0] == 100

    @pytest.mark.parametrize(
        "path", ["/ws/", "/ws/?token=x", "/ws/demo/", "/ws/demo/x", "/ws//demo"]
    )
    async def test_another_path_is_a_404(self, server: Server, demo: str, path: str) -> None:
        answer = await server.try_to_connect(path)
        assert answer.error == (404, "Not found")
        assert answer.rate_limit[0] == 100

    async def test_an_escaped_name_is_the_name(self, server: Server, demo: str) -> None:
        assert (await server.try_to_connect("/ws/%64emo")).status == 101

    @pytest.mark.parametrize("configured", [True, False])
    async def test_one_that_is_not_enabled_is_a_400_that_says_what_to_do(
        self, server: Server, configured: bool
    ) -> None:
        block = {"websocketEnabled": False} if configured else {"websocketEnabled": None}
        await server.create("My-Instance_1", **block)
        answer = await server.try_to_connect("/ws/My-Instance_1")
        assert answer.error == (
            400,
            "WebSocket is not enabled for this instance. "
            "Configure it first using POST /api/events/websocket/My-Instance_1",
        )
        assert answer.rate_limit[0] == 100
        await server.configure("My-Instance_1", enabled=True)
        assert (await server.try_to_connect("/ws/My-Instance_1")).status == 101


class TestCaps:
    async def test_connections_in_all(self, start_server: StartServer) -> None:
        server = await start_server(max_connections=2)
        await server.create()
        await server.create("other")
        first = await server.connect()
        await server.connect("other")
        for name in ("demo", "other"):
            answer = await server.try_to_connect(f"/ws/{name}")
            assert answer.error == (503, "Too many connections")
            assert answer.rate_limit[0] == 100
        assert (await server.try_to_connect("/ws/nobody")).status == 404
        await first.stream.aclose()
        await until(lambda: server.services.websockets.connections == 1)
        assert (await server.connect()).response.status == 101

    async def test_connections_of_an_instance(self, start_server: StartServer) -> None:
        server = await start_server(max_connections_per_instance=1)
        await server.create()
        await server.create("other")
        await server.connect()
        assert (await server.try_to_connect()).error == (503, "Too many connections")
        await server.connect("other")
