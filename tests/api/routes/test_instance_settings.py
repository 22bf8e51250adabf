"""The seven settings: bodies, responses, and the effect of two of them on events."""

import json
from pathlib import Path
from typing import Any

import pytest
from wsproto.events import TextMessage

from ryze.errors import StoreError
from tests.clients import Response
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer

SET = "/api/instance/settings/demo"
GET = "/api/instance/getSettings/demo"

FIXTURES = Path(__file__).parents[2] / "fixtures/events"

DEFAULTS = {
    "autoRejectCalls": False,
    "callRejectMessage": "",
    "ignoreGroupMessages": False,
    "keepOnlineStatus": False,
    "autoReadMessages": False,
    "disableHistorySync": True,
    "ignoreStatus": False,
}
OTHERS = {
    name: "busy" if name == "callRejectMessage" else not value for name, value in DEFAULTS.items()
}


async def change(server: Server, **settings: Any) -> Response:
    return await server.request("POST", SET, json=settings)


async def known(server: Server) -> Any:
    """Return the settings, after checking that both routes return the same."""
    settings = (await server.request("GET", GET)).json["settings"]
    listed = await server.request("GET", "/api/instance/list")
    assert listed.json["instances"][0]["settings"] == settings
    return settings


async def test_responses_to_the_byte(server: Server, demo: str) -> None:
    response = await change(server, **dict(reversed(OTHERS.items())))
    settings = (
        b'{"autoRejectCalls":true,"callRejectMessage":"busy","ignoreGroupMessages":true,'
        b'"keepOnlineStatus":true,"autoReadMessages":true,"disableHistorySync":false,'
        b'"ignoreStatus":true}'
    )
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.body == (
        b'{"success":true,"message":"Settings updated successfully","settings":%b}' % settings
    )
    response = await server.request("GET", GET)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.body == (
        b'{"success":true,"message":"Settings retrieved successfully","settings":%b}' % settings
    )


async def test_new_instance_has_the_defaults(server: Server, demo: str) -> None:
    assert await known(server) == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
async def test_one_setting_changes_and_the_others_stay(
    server: Server, demo: str, name: str
) -> None:
    assert (await change(server, **OTHERS)).json["settings"] == OTHERS
    for values in (DEFAULTS, OTHERS):
        nulls = dict.fromkeys(DEFAULTS)
        response = await change(server, **(nulls | {name: values[name], "more": 1, "NAME": True}))
        assert response.json["settings"] == OTHERS | {name: values[name]}
        assert await known(server) == OTHERS | {name: values[name]}


@pytest.mark.parametrize("text", ["", " ", "a" * 10_000, "'\"; 電話 \0 \U0001f600"], ids=range(4))
async def test_call_reject_message_is_any_text(server: Server, demo: str, text: str) -> None:
    await change(server, callRejectMessage="busy")
    response = await change(server, callRejectMessage=text)
    assert response.json["settings"] == DEFAULTS | {"callRejectMessage": text}
    assert await known(server) == DEFAULTS | {"callRejectMessage": text}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"ignoreStatus": None},
        dict.fromkeys(DEFAULTS),
        {"IgnoreStatus": True},
        {"ignore_status": True},
        {"settings": {"ignoreStatus": True}},
        {"webhookEnabled": True},
    ],
    ids=json.dumps,
)
async def test_no_setting_is_a_400(server: Server, demo: str, sent: dict[str, object]) -> None:
    response = await change(server, **sent)
    assert response.error == (400, "At least one setting must be provided")
    assert response.rate_limit[0] == 100
    assert await known(server) == DEFAULTS


@pytest.mark.parametrize(
    "sent",
    [
        *({name: value} for name in OTHERS for value in (1, 0, 1.0, [], {})),
        *({name: "true"} for name in OTHERS if name != "callRejectMessage"),
        {"callRejectMessage": True},
        {"ignoreStatus": True, "autoReadMessages": "yes"},
    ],
    ids=json.dumps,
)
async def test_invalid_body_is_a_400_and_changes_nothing(
    server: Server, demo: str, sent: dict[str, object]
) -> None:
    response = await change(server, **sent)
    assert response.error == (400, "Invalid request body")
    assert response.rate_limit[0] == 100
    assert await known(server) == DEFAULTS


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_account_and_instance_token_are_accepted(
    server: Server, demo: str, method: str
) -> None:
    other = await server.create("other")
    path = {"POST": SET, "GET": GET}[method]
    for token, status in ((ACCOUNT_TOKEN, 200), (demo, 200), (other, 401), ("x", 401), (None, 401)):
        response = await server.request(method, path, json={"ignoreStatus": True}, token=token)
        assert response.status == status
        if status == 401:
            assert response.error == (401, "Invalid token")
    unknown = path.replace("demo", "nobody")
    # The instance is checked before the body.
    assert (await server.request(method, unknown, json=[])).error == (404, "Instance not found")
    assert (await server.request(method, unknown, token=demo)).error == (401, "Invalid token")


async def test_settings_of_the_creation_are_returned(server: Server) -> None:
    await server.create(ignoreStatus=True, callRejectMessage="busy", disableHistorySync=None)
    assert await known(server) == DEFAULTS | {"ignoreStatus": True, "callRejectMessage": "busy"}


async def test_settings_survive_a_restart_and_change_nothing_else(
    start_server: StartServer,
) -> None:
    first = await start_server()
    token = await first.create(websocketEvents=["call.update"], websocketMediaBase64=True)
    await change(first, ignoreStatus=True)
    before = (await first.request("GET", "/api/instance/list")).json
    first.cancel_scope.cancel()
    await first.finished.wait()
    second = await start_server()
    assert (await second.request("GET", "/api/instance/list", token=token)).json == before
    assert await known(second) == DEFAULTS | {"ignoreStatus": True}


async def test_failed_database_is_a_500_and_changes_nothing(
    server: Server, demo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(server.services.database, "write", fail)
    response = await change(server, ignoreStatus=True)
    assert response.error == (500, "Failed to get instance")
    assert response.rate_limit[0] == 100
    # They are in memory, as tokens are.
    assert await known(server) == DEFAULTS


async def test_instance_deleted_during_the_request_is_a_404(
    server: Server, demo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deleted(*_: object) -> None:
        return None

    monkeypatch.setattr(server.services.registry, "change_settings", deleted)
    assert (await change(server, ignoreStatus=True)).error == (404, "Instance not found")


class TestIgnoredChats:
    PRIVATE = (FIXTURES / "message.exchange.live.text.json").read_bytes()
    GROUP = (FIXTURES / "message.exchange.catalog.group.json").read_bytes()
    STATUS = (FIXTURES / "message.exchange.live.status.json").read_bytes()
    ALL = (GROUP, STATUS, PRIVATE)

    async def post(self, server: Server, *bodies: bytes) -> Response:
        body = b"[" + b",".join(bodies) + b"]"
        return await server.request("POST", "/api/events/publish/demo", body=body)

    async def test_connected_subscribers_miss_ignored_chats_from_the_next_event_on(
        self, server: Server, demo: str
    ) -> None:
        socket = await server.connect()
        expected: list[bytes] = []
        for settings, passing in (
            ({"autoReadMessages": True}, self.ALL),
            ({"ignoreGroupMessages": True}, (self.STATUS, self.PRIVATE)),
            ({"ignoreStatus": True}, (self.PRIVATE,)),
            ({"ignoreGroupMessages": False}, (self.GROUP, self.PRIVATE)),
            ({"ignoreStatus": False}, self.ALL),
        ):
            await change(server, **settings)
            await self.post(server, *self.ALL)
            expected += passing
        received = [await socket.data() for _ in expected]
        assert received == [json.loads(body)["data"] for body in expected]
        assert await socket.is_silent()

    async def test_later_subscribers_miss_ignored_chats(self, server: Server) -> None:
        await server.create(ignoreGroupMessages=True)
        await change(server, ignoreStatus=True)
        socket = await server.connect()
        await self.post(server, *self.ALL)
        assert await socket.data() == json.loads(self.PRIVATE)["data"]
        assert await socket.is_silent()

    async def test_dropped_event_counts_no_clients(self, server: Server, demo: str) -> None:
        await change(server, ignoreGroupMessages=True)
        await server.connect()
        dropped = {"success": True, "message": "Event published", "published": 1, "clients": 0}
        assert (await self.post(server, self.GROUP)).json == dropped
        assert (await self.post(server, self.PRIVATE, self.GROUP)).json["published"] == 2
        assert (await self.post(server, self.PRIVATE, self.GROUP)).json["clients"] == 0
        assert (await self.post(server, self.GROUP, self.PRIVATE)).json["clients"] == 1

    async def test_events_of_a_producer_socket_are_filtered(
        self, server: Server, demo: str
    ) -> None:
        await change(server, ignoreGroupMessages=True, ignoreStatus=True)
        socket = await server.connect()
        producer = await server.connect("demo/publish")
        for body in self.ALL:
            await producer.send(TextMessage(body.decode()))
        assert await socket.data() == json.loads(self.PRIVATE)["data"]
        await change(server, ignoreGroupMessages=False)
        for body in self.ALL:
            await producer.send(TextMessage(body.decode()))
        received = [await socket.data(), await socket.data()]
        assert received == [json.loads(body)["data"] for body in (self.GROUP, self.PRIVATE)]

    async def test_other_instances_are_not_filtered(self, server: Server, demo: str) -> None:
        await server.create("other")
        await change(server, ignoreGroupMessages=True)
        socket = await server.connect("other")
        await server.publish(json.loads(self.GROUP)["data"], "other")
        assert await socket.data() == json.loads(self.GROUP)["data"]
