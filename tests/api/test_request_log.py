"""One log line per HTTP request, without its token."""

import io
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from tests.clients import request_bytes
from tests.conftest import ACCOUNT_TOKEN, Server


def requests(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in logs if line["event"] == "request"]


async def test_line_has_client_method_target_status_and_duration(
    server: Server, logs: list[MutableMapping[str, Any]]
) -> None:
    target = f"/api/instance/list?instanceName=a,b&token={ACCOUNT_TOKEN}"
    await server.request("GET", target, token=None)
    [line] = requests(logs)
    assert line.pop("seconds") >= 0
    assert line == {
        "event": "request",
        "log_level": "debug",
        "client": "127.0.0.1",
        "scheme": "http",
        "method": "GET",
        "target": "/api/instance/list?instanceName=a,b&token=***",
        "status": 401,
    }


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/health", 405),
        ("POST", "/api/instance/new", 400),
    ],
)
async def test_every_response_has_one_line(
    server: Server, logs: list[MutableMapping[str, Any]], method: str, target: str, status: int
) -> None:
    await server.request(method, target)
    [line] = requests(logs)
    assert (line["method"], line["target"], line["status"]) == (method, target, status)


async def test_exception_has_one_line_with_status_500(
    server: Server, logs: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(server.services.rate_limits, "hit", crash)
    await server.request("GET", "/api/instance/list")
    assert [line["status"] for line in requests(logs)] == [500]


async def test_invalid_request_head_is_logged_as_refused(
    server: Server, logs: list[MutableMapping[str, Any]]
) -> None:
    await server.raw(b"POST /health HTTP/1.1\r\nno colon\r\n\r\n")
    await server.raw(request_bytes("GET", "/health", {"X": "x" * 20_000}))
    refused = [(line["status"], line["client"]) for line in logs if line["event"] == "refused"]
    assert refused == [(400, "127.0.0.1"), (431, "127.0.0.1")]


async def test_all_lines_of_a_connection_have_its_id(
    server: Server, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a bug")

    one, two = await server.open(), await server.open()
    await one.request("GET", "/health")
    await two.request("GET", "/health")
    monkeypatch.setattr(server.services.database, "read", crash)
    await one.request("GET", "/health")
    await one.request("GET", "/ws/demo")
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    seen = [(line["event"], line["connection"]) for line in lines if "connection" in line]
    assert seen == [
        ("request", "http-1"),
        ("request", "http-2"),
        ("request failed", "http-1"),
        ("request", "http-1"),
        ("becomes a WebSocket", "http-1"),
        ("refused", "ws-1"),
    ]
