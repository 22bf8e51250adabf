"""No log line at debug level contains a token, tracebacks included."""

import io
import json

import pytest

from tests.clients import UPGRADE
from tests.conftest import Server

TOKEN = "the-token-that-nobody-may-read"


async def send_in_every_way(server: Server, method: str, path: str, token: str) -> None:
    body = {"name": "other", "token": token, "event": "call.update", "data": {"token": token}}
    for target, headers in (
        (path, {"token": token}),
        (path, {"token": None, "Authorization": f"Bearer {token}"}),
        (f"{path}?a=b&token={token}", {"token": None}),
        (f"{path}?%74oken={token}", {"token": None}),
    ):
        await server.request(method, target, json=body, headers=headers)
        if path.startswith("/ws/"):
            client = await server.open()
            given = {k: v for k, v in {**UPGRADE, **headers}.items() if v is not None}
            await client.request("GET", target, given)


async def talk(server: Server, token: str) -> None:
    for method, path in (
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
        ("GET", "/api/instance/list"),
        ("POST", "/api/instance/new"),
        ("POST", "/api/events/publish/demo"),
        ("POST", "/api/events/websocket/demo"),
        ("GET", "/api/events/getWebsocket/demo"),
        ("POST", "/ws/demo"),
        ("GET", "/ws/demo"),
        ("GET", "/ws/demo/publish"),
        ("GET", "/ws/nowhere"),
    ):
        await send_in_every_way(server, method, path, token)


async def test_no_token_is_logged_for_successful_and_refused_requests(
    server: Server, output: io.StringIO
) -> None:
    await server.create(token=TOKEN)
    for token in (TOKEN, f"{TOKEN}-but-wrong"):
        await talk(server, token)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert {"request", "connected", "refused"} <= {line["event"] for line in lines}
    assert TOKEN not in output.getvalue()


@pytest.mark.parametrize(
    "broken", ["registry.find", "registry.account_by_token_hash", "rate_limits.hit"]
)
async def test_no_token_is_logged_in_tracebacks(
    server: Server, output: io.StringIO, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    await server.create(token=TOKEN)
    part, name = broken.split(".")

    def crash(*args: object) -> None:
        raise RuntimeError(f"GET /ws/demo?token={TOKEN}: a bug")

    monkeypatch.setattr(type(getattr(server.services, part)), name, crash)
    await talk(server, TOKEN)
    assert output.getvalue().count("Traceback") > 10
    assert "a bug" in output.getvalue()
    assert TOKEN not in output.getvalue()
