"""Set Websocket and Check Websocket: the rules of all fields, and all responses."""

import json
from itertools import permutations
from typing import Any

import pytest

from ryze.errors import StoreError
from ryze.events.event import EVENT_TYPES
from tests.conftest import Server, StartServer

SET = "/api/events/websocket/demo"
GET = "/api/events/getWebsocket/demo"


@pytest.fixture
async def plain(server: Server) -> Server:
    """A server with an instance whose WebSocket was never configured."""
    await server.request("POST", "/api/instance/new", json={"name": "demo"})
    return server


def config(enabled: bool, events: list[str], media_base64: bool) -> dict[str, object]:
    return {"enabled": enabled, "events": events, "mediaBase64": media_base64}


async def test_responses_to_the_byte(plain: Server) -> None:
    sent = {"mediaBase64": True, "events": ["label.update", "call.update"], "enabled": True}
    response = await plain.request("POST", SET, json=sent)
    websocket = b'{"enabled":true,"events":["label.update","call.update"],"mediaBase64":true}'
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.body == (
        b'{"success":true,"message":"WebSocket configured successfully","websocket":%b}' % websocket
    )
    response = await plain.request("GET", GET)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.body == (
        b'{"success":true,"message":"WebSocket configuration retrieved","websocket":%b}' % websocket
    )


@pytest.mark.parametrize(
    ("sent", "saved"),
    [
        ({"enabled": True}, config(True, [], False)),
        ({"enabled": True, "events": []}, config(True, [], False)),
        ({"enabled": True, "events": None, "mediaBase64": None}, config(True, [], False)),
        ({"enabled": True, "mediaBase64": True}, config(True, [], True)),
        ({"enabled": True, "mediaBase64": False}, config(True, [], False)),
        ({"enabled": True, "events": list(EVENT_TYPES)}, config(True, list(EVENT_TYPES), False)),
        (
            {"enabled": True, "events": list(EVENT_TYPES)[::-1]},
            config(True, list(EVENT_TYPES)[::-1], False),
        ),
        (
            {"enabled": True, "events": ["group.flow", "call.update", "group.flow", "call.update"]},
            config(True, ["group.flow", "call.update"], False),
        ),
        (
            {"enabled": True, "webhookEnabled": 5, "Enabled": False, "media_base64": "x"},
            config(True, [], False),
        ),
        ({"enabled": False}, config(False, [], False)),
        (
            {"enabled": False, "events": ["call.update"], "mediaBase64": True},
            config(False, [], False),
        ),
    ],
    ids=str,
)
async def test_configuration_is_saved(
    plain: Server, sent: dict[str, Any], saved: dict[str, Any]
) -> None:
    response = await plain.configure(**sent)
    assert (response.status, response.json["websocket"]) == (200, saved)
    assert (await plain.request("GET", GET)).json["websocket"] == saved
    listed = await plain.request("GET", "/api/instance/list")
    assert listed.json["instances"][0]["websocket"] == saved


@pytest.mark.parametrize(
    "sent",
    [
        {"events": [], "mediaBase64": True},
        *({"enabled": value} for value in (None, 1, 0, "true", "", [], {}, 1.0)),
        *(
            {"enabled": enabled, "events": value}
            for enabled in (True, False)
            for value in ("call.update", {}, 1, True, [1], [None], [["call.update"]])
        ),
        *(
            {"enabled": True, "events": ["call.update", name]}
            for name in ("", "call", "CALL.UPDATE", " call.update", "call.update ", "*", "message")
        ),
        *({"enabled": True, "mediaBase64": value} for value in (1, 0, "false", "", [], {})),
        {"enabled": False, "mediaBase64": "false"},
    ],
    ids=json.dumps,
)
async def test_invalid_body_is_a_400_and_changes_nothing(
    plain: Server, sent: dict[str, Any]
) -> None:
    await plain.configure(enabled=True, events=["call.update"], mediaBase64=True)
    response = await plain.request("POST", SET, json=sent)
    assert response.error == (400, "Invalid request body")
    assert response.rate_limit[0] == 100
    kept = await plain.request("GET", GET)
    assert kept.json["websocket"] == config(True, ["call.update"], True)


async def test_last_configuration_applies(plain: Server) -> None:
    for _ in range(2):
        await plain.configure(enabled=True, events=["call.update"])
    for order in permutations(["group.flow", "label.update"]):
        await plain.configure(enabled=True, events=list(order))
        assert (await plain.request("GET", GET)).json["websocket"]["events"] == list(order)
    await plain.configure(enabled=False)
    await plain.configure(enabled=True)
    # The configuration before it was disabled does not come back.
    assert (await plain.request("GET", GET)).json["websocket"] == config(True, [], False)


async def test_unconfigured_is_a_404_and_disabled_is_not(plain: Server) -> None:
    response = await plain.request("GET", GET)
    assert response.error == (404, "WebSocket not configured for this instance")
    assert response.rate_limit[0] == 100
    await plain.configure(enabled=False)
    response = await plain.request("GET", GET)
    assert (response.status, response.json["websocket"]) == (200, config(False, [], False))


async def test_configuration_survives_a_restart(
    start_server: StartServer, nursery: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start_server()
    token = await first.create(websocketEvents=["call.update"], websocketMediaBase64=True)
    first.cancel_scope.cancel()
    await first.finished.wait()
    second = await start_server()
    response = await second.request("GET", GET, token=token)
    assert response.json["websocket"] == config(True, ["call.update"], True)
    socket = await second.connect(headers={"token": token})
    await second.publish({"n": 1}, event="group.flow")
    await second.publish({"n": 2}, event="call.update")
    assert await socket.data() == {"n": 2}


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", SET, "Failed to get instance"),
        ("GET", GET, "Failed to get websocket configuration"),
    ],
)
async def test_failed_database_is_a_500(
    plain: Server, monkeypatch: pytest.MonkeyPatch, method: str, path: str, message: str
) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(plain.services.database, "read", fail)
    monkeypatch.setattr(plain.services.database, "write", fail)
    response = await plain.request(method, path, json={"enabled": True})
    assert response.error == (500, message)
    assert response.rate_limit[0] == 100


async def test_instance_deleted_during_the_request_is_a_404(
    plain: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deleted(*_: object) -> bool:
        return False

    monkeypatch.setattr(plain.services.registry, "configure_websocket", deleted)
    assert (await plain.configure(enabled=True)).error == (404, "Instance not found")


class TestOpenConnections:
    async def test_event_filter_applies_from_the_next_event_on(
        self, server: Server, demo: str
    ) -> None:
        socket = await server.connect()
        await server.publish({"n": 1}, event="call.update")
        await server.configure(enabled=True, events=["group.flow"])
        await server.publish({"n": 2}, event="call.update")
        await server.publish({"n": 3}, event="group.flow")
        await server.configure(enabled=True)
        await server.publish({"n": 4}, event="call.update")
        assert [await socket.data() for _ in range(3)] == [{"n": 1}, {"n": 3}, {"n": 4}]

    async def test_media_setting_applies_from_the_next_event_on(
        self, server: Server, demo: str
    ) -> None:
        socket = await server.connect()
        media = {"media": {"url": "u", "base64": "AAAA"}}
        await server.publish(media)
        await server.configure(enabled=True, mediaBase64=True)
        await server.publish(media)
        assert [await socket.data(), await socket.data()] == [{"media": {"url": "u"}}, media]

    async def test_connections_stay_open_without_events_while_disabled(
        self, server: Server, demo: str
    ) -> None:
        sockets = [await server.connect(), await server.connect()]
        await server.configure(enabled=False)
        response = await server.publish({"n": 1})
        assert response.json == {
            "success": True,
            "message": "Event published",
            "published": 1,
            "clients": 0,
        }
        for socket in sockets:
            assert await socket.is_silent()
        refused = await server.try_to_connect()
        assert refused.error == (
            400,
            "WebSocket is not enabled for this instance. "
            "Configure it first using POST /api/events/websocket/demo",
        )
        assert refused.rate_limit[0] == 100
        await server.configure(enabled=True)
        assert (await server.publish({"n": 2})).json["clients"] == 2
        for socket in sockets:
            assert await socket.data() == {"n": 2}
        assert (await server.connect()).response.status == 101
