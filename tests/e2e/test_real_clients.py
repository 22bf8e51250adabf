"""Real clients receive what is published, byte for byte, and live through idle times."""

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
    address,
)
from .conftest import StartServer
from .gorilla import GorillaClient
from .harness import CAP, HERE, Server, environ, raw_data, tool

Connect = Callable[[str, dict[str, str]], Client]

CLIENTS = {
    "websockets": WebsocketsClient,
    "aiohttp": AiohttpClient,
    "wscat": WscatClient,
    "gorilla": GorillaClient,
}
EVENTS = sorted((HERE.parent / "fixtures/events").glob("*.json"))


def publish_with_curl(server: Server, instance: str, file: Path, token: str) -> None:
    command = [tool("curl"), "-sS", "--fail-with-body", "-X", "POST"]
    command += [f"{server.url}/api/events/publish/{instance}", "-H", f"token: {token}"]
    command += ["-H", "Content-Type: application/json", "--data-binary", f"@{file}"]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=CAP)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["clients"] == 1


@pytest.mark.parametrize("in_query", [False, True], ids=["header", "query"])
@pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS)
def test_receives_every_event_byte_for_byte(
    connect: Connect, in_query: bool, server: Server
) -> None:
    token = server.create_instance("shop", websocketMediaBase64=True)
    client = connect(*address(server.url, "shop", token, in_query=in_query))
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


IDLERS = CLIENTS | {"aiohttp-pinging": partial(AiohttpClient, heartbeat=1)}


@pytest.mark.parametrize("connect", IDLERS.values(), ids=IDLERS)
def test_idles_through_heartbeats(connect: Connect, start_server: StartServer) -> None:
    """It answers pings, so it stays, while two mute ones come and are sent away after it."""
    server = start_server(ping_interval_seconds=0.25, pong_timeout_seconds=2)
    token = server.create_instance("shop")
    client = connect(*address(server.url, "shop", token))
    try:
        server.wait_connected(1)
        for _ in range(2):
            let_a_mute_client_be_dropped(server, token)
        assert server.publish("shop", {"event": "call.update", "data": {}}) == 1
        assert json.loads(client.receive())["event"] == "call.update"
    finally:
        client.close()


def let_a_mute_client_be_dropped(server: Server, token: str) -> None:
    mute = RawClient(*address(server.url, "shop", token))
    try:
        while (frame := mute.receive())[0] != CLOSE:
            pass
        assert frame[1] == (4009).to_bytes(2, "big") + b"no heartbeat"
    finally:
        mute.close()
