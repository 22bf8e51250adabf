"""Create, list and delete instances, and change their tokens."""

import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from ryze.changes import AccountTokenRevoked
from ryze.errors import StoreError
from ryze.records import Account
from ryze.store import hash_token, insert_account
from tests.clients import UPGRADE, Response, WebSocketClient, chunked
from tests.conftest import ACCOUNT_TOKEN, JSON, Server
from tests.fakes import call_at_next_checkpoint

NEW = "/api/instance/new"
LIST = "/api/instance/list"

DISABLED = {"enabled": False, "events": [], "mediaBase64": False}


async def new(server: Server, *, by: str = ACCOUNT_TOKEN, **body: Any) -> Response:
    return await server.request("POST", NEW, json=body, token=by)


async def names(server: Server, query: str = "") -> list[str]:
    response = await server.request("GET", LIST + query)
    return [instance["name"] for instance in response.json["instances"]]


class TestNew:
    async def test_response_to_the_byte(self, server: Server) -> None:
        response = await new(
            server,
            name="demo",
            token="a token",
            websocketMediaBase64=True,
            websocketEvents=["group.flow", "call.update", "group.flow"],
            websocketEnabled=True,
        )
        assert response.error == (400, "Invalid request body")
        response = await new(
            server,
            name="demo",
            token="a-token",
            websocketMediaBase64=True,
            websocketEvents=["group.flow", "call.update", "group.flow"],
            websocketEnabled=True,
        )
        assert response.status == 201
        assert response.headers["content-type"] == "application/json"
        assert response.body == (
            b'{"success":true,"message":"Instance created successfully",'
            b'"instance":{"name":"demo","status":"disconnected","token":"a-token"},'
            b'"data":{"token":"a-token"},'
            b'"websocket":{"enabled":true,"events":["group.flow","call.update"],"mediaBase64":true}}'
        )

    @pytest.mark.parametrize("name", ["a", "-", "_", "a" * 100, "A-z_09", "demo", "null"])
    async def test_valid_names(self, server: Server, name: str) -> None:
        assert (await new(server, name=name)).json["instance"]["name"] == name
        assert await names(server) == [name]

    @pytest.mark.parametrize(
        "name",
        [
            *("", "a" * 101, "a/b", "a b", "a\n", "\na", "a\0", "a.b", "a%2Fb", "é", "\u0661"),
            *(None, 1, True, ["a"], {"a": 1}),
        ],
        ids=repr,
    )
    async def test_invalid_names_are_a_400(self, server: Server, name: object) -> None:
        response = await new(server, name=name)
        assert response.error == (400, "Invalid request body")
        assert response.rate_limit == (20, 19)
        assert await names(server) == []

    async def test_generated_token_is_accepted(self, server: Server) -> None:
        response = await new(server, name="demo")
        token = response.json["instance"]["token"]
        assert response.json["data"] == {"token": token}
        assert len(token) >= 32
        assert (await server.request("GET", LIST, token=token)).status == 200
        other = await new(server, name="other")
        assert other.json["instance"]["token"] != token

    @pytest.mark.parametrize(
        "token", ["~", "a" * 255, "  padded\t", "!\"#$%&'()*+,-./:;<=>?@[]^`{|}"]
    )
    async def test_given_token_is_accepted(self, server: Server, token: str) -> None:
        response = await new(server, name="demo", token=token)
        assert response.status == 201
        assert response.json["instance"]["token"] == token.strip()
        listed = await server.request("GET", LIST, token=token)
        assert listed.json["message"] == "1 Instance found"

    @pytest.mark.parametrize("token", [None, "", "  "], ids=repr)
    async def test_empty_token_means_a_generated_one(
        self, server: Server, token: str | None
    ) -> None:
        response = await new(server, name="demo", token=token)
        assert len(response.json["instance"]["token"]) >= 32

    @pytest.mark.parametrize(
        "token", ["a" * 256, "a b", "é", "a\nb", "\x7f", 1, True, []], ids=repr
    )
    async def test_invalid_tokens_are_a_400(self, server: Server, token: object) -> None:
        response = await new(server, name="demo", token=token)
        assert response.error == (400, "Invalid request body")

    async def test_existing_name_is_a_409(self, server: Server, demo: str) -> None:
        response = await new(server, name="demo")
        assert response.error == (409, "Instance already exists")
        assert response.rate_limit == (20, 18)
        assert (await server.request("GET", LIST, token=demo)).status == 200

    async def test_token_in_use_is_a_409(self, server: Server, demo: str) -> None:
        for token in (demo, f" {demo} ", ACCOUNT_TOKEN):
            response = await new(server, name="other", token=token)
            assert response.error == (409, "Token already in use")
        # The name is checked first.
        assert (await new(server, name="demo", token=demo)).error[1] == "Instance already exists"

    async def test_instance_over_the_quota_is_a_403(self, server: Server) -> None:
        await server.services.database.write(insert_account, "small", hash_token("small"), 2)
        await server.services.registry._load_accounts()
        for name in ("a", "b"):
            assert (await new(server, by="small", name=name)).status == 201
        response = await new(server, by="small", name="c")
        assert response.error == (403, "Account instance quota exceeded")
        assert (await new(server, by="small", name="a")).error[0] == 409
        deleted = await server.request("DELETE", "/api/instance/delete/a", token="small")
        assert deleted.status == 200
        assert (await new(server, by="small", name="c")).status == 201

    async def test_names_are_unique_per_account(self, server: Server, demo: str) -> None:
        await server.services.database.write(insert_account, "b", hash_token("b-token"))
        await server.services.registry._load_accounts()
        assert (await new(server, by="b-token", name="demo")).status == 201
        listed = await server.request("GET", LIST, token="b-token")
        assert listed.json["message"] == "1 Instance found"

    @pytest.mark.parametrize(
        ("block", "websocket"),
        [
            ({}, DISABLED),
            ({"websocketEnabled": None, "websocketEvents": None}, DISABLED),
            ({"websocketEnabled": True}, {**DISABLED, "enabled": True}),
            ({"websocketEnabled": True, "websocketEvents": []}, {**DISABLED, "enabled": True}),
            ({"websocketEnabled": False, "websocketEvents": ["call.update"]}, DISABLED),
            ({"websocketEvents": ["call.update"], "websocketMediaBase64": True}, DISABLED),
        ],
        ids=str,
    )
    async def test_websocket_block_is_saved(
        self, server: Server, block: dict[str, Any], websocket: dict[str, Any]
    ) -> None:
        response = await new(server, name="demo", **block)
        assert (response.status, response.json["websocket"]) == (201, websocket)
        check = await server.request("GET", "/api/events/getWebsocket/demo")
        if any(value is not None for value in block.values()):
            assert check.json["websocket"] == websocket
        else:
            assert check.error == (404, "WebSocket not configured for this instance")

    @pytest.mark.parametrize(
        "block",
        [
            {"websocketEnabled": "true"},
            {"websocketEnabled": 1},
            {"websocketEnabled": True, "websocketEvents": ["no.such"]},
            {"websocketEnabled": True, "websocketEvents": "call.update"},
            {"websocketEnabled": True, "websocketEvents": [1]},
            {"websocketEnabled": True, "websocketMediaBase64": "yes"},
        ],
        ids=str,
    )
    async def test_invalid_websocket_block_is_logged_and_disables_the_websocket(
        self,
        server: Server,
        logs: list[MutableMapping[str, Any]],
        block: dict[str, Any],
    ) -> None:
        response = await new(server, name="demo", **block)
        assert (response.status, response.json["websocket"]) == (201, DISABLED)
        [line] = [entry for entry in logs if entry["event"] == "websocket block ignored"]
        assert (line["instance"], line["log_level"]) == ("demo", "warning")
        wrong = next(key for key in reversed(block))
        assert f"$.{wrong}" in line["error"]
        check = await server.request("GET", "/api/events/getWebsocket/demo")
        assert check.json["websocket"] == DISABLED

    async def test_absent_settings_have_their_defaults(self, server: Server) -> None:
        await new(server, name="plain", autoRejectCalls=None)
        changed = {
            "autoRejectCalls": True,
            "callRejectMessage": "später \N{WAVING HAND SIGN}\0",
            "ignoreGroupMessages": True,
            "keepOnlineStatus": True,
            "autoReadMessages": True,
            "disableHistorySync": False,
            "ignoreStatus": True,
        }
        await new(server, name="changed", **changed)
        listed = (await server.request("GET", LIST)).json["instances"]
        assert [instance["settings"] for instance in listed] == [
            {
                "autoRejectCalls": False,
                "callRejectMessage": "",
                "ignoreGroupMessages": False,
                "keepOnlineStatus": False,
                "autoReadMessages": False,
                "disableHistorySync": True,
                "ignoreStatus": False,
            },
            changed,
        ]

    @pytest.mark.parametrize(
        "wrong", [{"autoRejectCalls": 1}, {"callRejectMessage": 1}, {"ignoreStatus": "no"}], ids=str
    )
    async def test_invalid_setting_is_a_400(self, server: Server, wrong: dict[str, Any]) -> None:
        assert (await new(server, name="demo", **wrong)).error == (400, "Invalid request body")

    async def test_failed_database_is_a_500(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: object) -> None:
            raise StoreError("the disk is gone")

        monkeypatch.setattr(server.services.database, "write", fail)
        assert (await new(server, name="demo")).error == (500, "Failed to get instance")
        assert await names(server) == []


class TestList:
    async def test_list_without_instances(self, server: Server) -> None:
        response = await server.request("GET", LIST)
        assert response.body == b'{"success":true,"message":"0 Instances found","instances":[]}'

    async def test_response_to_the_byte(self, server: Server) -> None:
        await server.create(websocketEvents=["call.update"])
        response = await server.request("GET", LIST)
        assert response.status == 200
        assert response.body == (
            b'{"success":true,"message":"1 Instance found","instances":['
            b'{"name":"demo","status":"disconnected","connection":{"state":"disconnected",'
            b'"numberJid":null,"presenceStatus":null,"displayStatus":null},'
            b'"websocket":{"enabled":true,"events":["call.update"],"mediaBase64":false},'
            b'"webhook":null,"settings":{"autoRejectCalls":false,"callRejectMessage":"",'
            b'"ignoreGroupMessages":false,"keepOnlineStatus":false,"autoReadMessages":false,'
            b'"disableHistorySync":true,"ignoreStatus":false}}]}'
        )

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", ["a", "b", "c"]),
            ("?instanceName=", ["a", "b", "c"]),
            ("?instanceName=,%20,", ["a", "b", "c"]),
            ("?other=a", ["a", "b", "c"]),
            ("?instanceName=b", ["b"]),
            ("?instanceName=%20b%20,", ["b"]),
            ("?instanceName=c,a", ["c", "a"]),
            ("?instanceName=c%2Ca", ["c", "a"]),
            ("?instanceName=a,nobody,b,a", ["a", "b"]),
            ("?instanceName=nobody,noone", []),
        ],
    )
    async def test_list_by_names(self, server: Server, query: str, found: list[str]) -> None:
        for name in ("a", "b", "c"):
            await server.create(name)
        response = await server.request("GET", LIST + query)
        assert [instance["name"] for instance in response.json["instances"]] == found
        count = len(found)
        message = "1 Instance found" if count == 1 else f"{count} Instances found"
        assert (response.status, response.json["message"]) == (200, message)

    async def test_single_unknown_name_is_a_404(self, server: Server, demo: str) -> None:
        response = await server.request("GET", f"{LIST}?instanceName=nobody")
        assert response.error == (404, "Instance not found")

    async def test_instance_token_lists_its_own_instance_only(
        self, server: Server, demo: str
    ) -> None:
        await server.create("other")
        for query in ("", "?instanceName=other", "?instanceName=nobody"):
            response = await server.request("GET", LIST + query, token=demo)
            assert response.json["message"] == "1 Instance found"
            assert [each["name"] for each in response.json["instances"]] == ["demo"]

    async def test_list_contains_no_token(self, server: Server, demo: str) -> None:
        response = await server.request("GET", LIST)
        assert demo not in response.body.decode()


class TestDelete:
    async def test_deleting_removes_configuration_and_connections(
        self, server: Server, demo: str
    ) -> None:
        other = await server.create("other")
        sockets = [await server.connect(), await server.connect()]
        stays = await server.connect("other")
        response = await server.request("DELETE", "/api/instance/delete/demo")
        assert response.status == 200
        assert response.body == (
            b'{"success":true,"message":"Instance deleted","instance":{"status":"deleted"}}'
        )
        for socket in sockets:
            assert await socket.closed() == (4504, "instance deleted")
        again = await server.request("DELETE", "/api/instance/delete/demo")
        assert again.error == (404, "Instance not found")
        assert (await server.request("GET", LIST, token=demo)).error == (401, "Invalid token")
        assert (await server.try_to_connect()).error == (404, "Instance not found")
        assert (await server.publish()).error == (404, "Instance not found")
        assert await names(server) == ["other"]
        assert (await server.publish({"n": 1}, name="other")).json["clients"] == 1
        assert await stays.data() == {"n": 1}
        assert (await server.request("GET", LIST, token=other)).status == 200

    async def test_name_and_token_can_be_used_again(self, server: Server, demo: str) -> None:
        old = await server.connect()
        await server.request("DELETE", "/api/instance/delete/demo")
        assert (await new(server, name="demo", token=demo)).status == 201
        check = await server.request("GET", "/api/events/getWebsocket/demo")
        assert check.error == (404, "WebSocket not configured for this instance")
        await server.configure(enabled=True)
        socket = await server.connect()
        assert (await server.publish({"n": 1})).json["clients"] == 1
        assert await socket.data() == {"n": 1}
        assert await old.closed() == (4504, "instance deleted")

    async def test_failed_database_is_a_500_and_nothing_is_deleted(
        self, server: Server, demo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        socket = await server.connect()

        async def fail(*_: object) -> None:
            raise StoreError("the disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr(server.services.database, "write", fail)
            response = await server.request("DELETE", "/api/instance/delete/demo")
        assert response.error == (500, "Failed to get instance")
        await server.publish({"n": 1})
        assert await socket.data() == {"n": 1}

    async def test_concurrent_deletions_succeed_once(
        self, server: Server, demo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def deleted(*_: object) -> bool:
            return False

        monkeypatch.setattr(server.services.registry, "delete_instance", deleted)
        response = await server.request("DELETE", "/api/instance/delete/demo")
        assert response.error == (404, "Instance not found")


class TestToken:
    PATH = "/api/instance/token/demo"

    async def change(self, server: Server, **body: Any) -> Response:
        return await server.request("POST", self.PATH, json=body)

    async def test_response_to_the_byte(self, server: Server, demo: str) -> None:
        response = await self.change(server, token="a-token")
        assert response.status == 200
        assert response.rate_limit == (100, 99)
        assert response.body == (
            b'{"success":true,"message":"Token updated successfully",'
            b'"instance":{"name":"demo","status":"disconnected","token":"a-token"},'
            b'"data":{"token":"a-token"}}'
        )

    async def test_new_token_is_accepted_and_old_token_is_refused(
        self, server: Server, demo: str
    ) -> None:
        token = (await self.change(server)).json["data"]["token"]
        assert len(token) >= 32
        assert token != demo
        assert (await server.request("GET", LIST, token=token)).status == 200
        assert (await server.request("GET", LIST, token=demo)).error == (401, "Invalid token")
        refused = await server.try_to_connect(headers={"token": demo})
        assert refused.error == (401, "Invalid token")
        assert (await server.try_to_connect(headers={"token": token})).status == 101

    @pytest.mark.parametrize("role", ["", "/publish"], ids=["subscriber", "producer"])
    async def test_only_connections_of_the_old_token_end(
        self, server: Server, demo: str, role: str
    ) -> None:
        other = await server.create("other")
        old = [await server.connect(f"demo{role}", {"token": demo}) for _ in range(2)]
        stays = [
            await server.connect(),
            await server.connect("demo/publish"),
            await server.connect("other", {"token": other}),
        ]
        await self.change(server)
        for socket in old:
            assert await socket.closed() == (4501, "token revoked")
        for socket in stays:
            assert await socket.is_silent()

    async def test_frames_of_other_connections_carry_the_new_token(
        self, server: Server, demo: str
    ) -> None:
        socket = await server.connect()
        await server.publish()
        token = (await self.change(server)).json["data"]["token"]
        await server.publish()
        tokens = [(await socket.document())["instanceData"]["token"] for _ in range(2)]
        assert tokens == [demo, token]

    async def test_upgrade_in_progress_ends_with_its_token(
        self, server: Server, demo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The token is valid when it is checked, and void immediately after."""
        account_by_token_hash = server.services.registry.account_by_token_hash

        def look_up(token_hash: str) -> Account | None:
            call_at_next_checkpoint(lambda: server.hub.follow(AccountTokenRevoked(token_hash)))
            return account_by_token_hash(token_hash)

        kept_alive = await server.open()
        await kept_alive.request("GET", "/health")
        monkeypatch.setattr(server.services.registry, "account_by_token_hash", look_up)
        assert await (await server.connect()).closed() == (4501, "token revoked")
        fields = {"token": demo, **UPGRADE}
        second = WebSocketClient(kept_alive, await kept_alive.request("GET", "/ws/demo", fields))
        assert await second.closed() == (4501, "token revoked")

    async def test_authorized_publish_request_completes(
        self, server: Server, demo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        socket = await server.connect()
        publish = server.services.publisher.publish

        async def later(*args: Any) -> int:
            assert (await self.change(server)).status == 200
            return await publish(*args)

        monkeypatch.setattr(server.services.publisher, "publish", later)
        event = {"event": "call.update", "data": {"n": 1}}
        response = await server.request("POST", "/api/events/publish/demo", json=event, token=demo)
        assert response.json["clients"] == 1
        assert await socket.data() == {"n": 1}

    @pytest.mark.parametrize("body", [b"{}", b'{"token": null}', b'{"token": " "}', b'{"x": 1}'])
    async def test_empty_object_generates_a_token(
        self, server: Server, demo: str, body: bytes
    ) -> None:
        response = await server.request("POST", self.PATH, body=body)
        assert len(response.json["data"]["token"]) >= 32

    @pytest.mark.parametrize("headers", [{}, JSON, {"Content-Length": "0"}], ids=str)
    async def test_body_is_optional(
        self, server: Server, demo: str, headers: dict[str, str]
    ) -> None:
        response = await server.request("POST", self.PATH, headers=headers)
        assert response.status == 200

    @pytest.mark.parametrize("token", ["~", "a" * 255, "  padded\t"])
    async def test_token_can_be_given(self, server: Server, demo: str, token: str) -> None:
        assert (await self.change(server, token=token)).json["data"] == {"token": token.strip()}
        assert (await server.request("GET", LIST, token=token)).status == 200

    @pytest.mark.parametrize(
        "body",
        [
            *(b'{"token": "%b"}' % token for token in (b"a" * 256, b"a b", "é".encode(), b"a\\nb")),
            *(b'{"token": 1}', b'{"token": []}', b"[]", b"null", b" ", b"{", b'{"token": "\xff"}'),
        ],
        ids=range(11),
    )
    async def test_invalid_body_is_a_400_and_changes_nothing(
        self, server: Server, demo: str, body: bytes
    ) -> None:
        response = await server.request("POST", self.PATH, body=body)
        assert response.error == (400, "Invalid request body")
        assert (await server.request("GET", LIST, token=demo)).status == 200

    @pytest.mark.parametrize(
        "headers", [{"Content-Type": "text/plain"}, {"Content-Type": None}], ids=str
    )
    async def test_body_of_another_media_type_is_a_400(
        self, server: Server, demo: str, headers: dict[str, str | None]
    ) -> None:
        response = await server.request("POST", self.PATH, body=b"{}", headers=headers)
        assert response.error == (400, "Invalid request body")

    async def test_chunked_body_is_read(self, server: Server, demo: str) -> None:
        response = await server.request(
            "POST",
            self.PATH,
            body=chunked(b'{"token": "a-token"}', 7),
            headers={"Transfer-Encoding": "chunked"},
        )
        assert response.json["data"] == {"token": "a-token"}

    async def test_token_in_use_even_by_the_instance_itself_is_a_409(
        self, server: Server, demo: str
    ) -> None:
        other = await server.create("other")
        socket = await server.connect(headers={"token": demo})
        for token in (other, demo, f" {demo} ", ACCOUNT_TOKEN):
            assert (await self.change(server, token=token)).error == (409, "Token already in use")
        assert await socket.is_silent()

    async def test_old_token_can_be_used_again(self, server: Server, demo: str) -> None:
        await self.change(server)
        assert (await new(server, name="other", token=demo)).status == 201
        listed = await server.request("GET", LIST, token=demo)
        assert [each["name"] for each in listed.json["instances"]] == ["other"]

    async def test_failed_database_is_a_500_and_no_connection_ends(
        self, server: Server, demo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        socket = await server.connect(headers={"token": demo})

        async def fail(*_: object) -> None:
            raise StoreError("the disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr(server.services.database, "write", fail)
            assert (await self.change(server)).error == (500, "Failed to get instance")
        assert await socket.is_silent()
        assert (await server.request("GET", LIST, token=demo)).status == 200

    async def test_instance_deleted_during_the_request_is_a_404(
        self, server: Server, demo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def gone(*_: object) -> None:
            return None

        monkeypatch.setattr(server.services.registry, "change_token", gone)
        assert (await self.change(server)).error == (404, "Instance not found")


async def test_large_body_of_unknown_fields_is_accepted(server: Server) -> None:
    body = {"name": "demo", **{f"field{n}": n for n in range(1000)}}
    response = await server.request("POST", NEW, body=json.dumps(body).encode())
    assert response.status == 201
