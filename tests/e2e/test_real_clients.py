"""Third-party clients receive events byte for byte, and stay connected while idle."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from .clients import (
    CLOSE,
    AiohttpClient,
    Client,
    RawClient,
    WebsocketsClient,
    WscatClient,
    connect_arguments,
)
from .conftest import StartServer
from .gorilla import GorillaClient
from .harness import E2E_FOLDER, TIMEOUT_SECONDS, Server, clean_environ, raw_data, require_tool

Connect = Callable[[str, dict[str, str]], Client]

CLIENTS = {
    "websockets": WebsocketsClient,
    "aiohttp": AiohttpClient,
    "wscat": WscatClient,
    "gorilla": GorillaClient,
}
EVENTS = sorted((E2E_FOLDER.parent / "fixtures/events").glob("*.json"))


def publish_with_curl(server: Server, instance: str, file: Path, token: str) -> None:
    command = [require_tool("curl"), "-sS", "--fail-with-body", "-X", "POST"]
    command += [f"{server.url}/api/events/publish/{instance}", "-H", f"token: {token}"]
    command += ["-H", "Content-Type: application/json", "--data-binary", f"@{file}"]
    done = subprocess.run(
        command, env=clean_environ(), capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["clients"] == 1


@pytest.mark.parametrize("in_query", [False, True], ids=["header", "query"])
@pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS)
def test_receives_every_event_byte_for_byte(
    connect: Connect, in_query: bool, server: Server
) -> None:
    token = server.create_instance("shop", websocketMediaBase64=True)
    client = connect(*connect_arguments(server.url, "shop", token, in_query=in_query))
    try:
        server.wait_connected(1)
        for file in EVENTS:
            publish_with_curl(server, "shop", file, token)
        frames = [client.receive() for _ in EVENTS]
    finally:
        client.close()
    for file, frame in zip(EVENTS, frames, strict=True):
        published, received = json.loads(file.read_text()), json.loads(frame)
        assert list(received) == ["event", "data", "instanceData"]
        assert received["event"] == published["event"]
        assert raw_data(frame) == raw_data(file.read_text())
        expected = {"baseUrl": server.url, "instance": "shop", "token": token}
        assert received["instanceData"] == expected


IDLE_CLIENTS = CLIENTS | {"aiohttp-pinging": partial(AiohttpClient, heartbeat=1)}


@pytest.mark.parametrize("connect", IDLE_CLIENTS.values(), ids=IDLE_CLIENTS)
def test_idle_client_stays_connected(connect: Connect, start_server: StartServer) -> None:
    """It replies to pings and stays; two later clients that do not are closed meanwhile."""
    server = start_server(ping_interval_seconds=0.25, pong_timeout_seconds=2)
    token = server.create_instance("shop")
    client = connect(*connect_arguments(server.url, "shop", token))
    try:
        server.wait_connected(1)
        for _ in range(2):
            wait_silent_client_closed(server, token)
        assert server.publish("shop", {"event": "call.update", "data": {}}) == 1
        assert json.loads(client.receive())["event"] == "call.update"
    finally:
        client.close()


def wait_silent_client_closed(server: Server, token: str) -> None:
    silent = RawClient(*connect_arguments(server.url, "shop", token))
    try:
        while (frame := silent.receive())[0] != CLOSE:
            pass
        assert frame[1] == (4009).to_bytes(2, "big") + b"no heartbeat"
    finally:
        silent.close()
