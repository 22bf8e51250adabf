"""Rotating a token closes its connections, also when another process rotates it."""

import json
import subprocess

import pytest

from .clients import CLOSE, RawClient, connect_arguments
from .harness import RYZE, TIMEOUT_SECONDS, Server, clean_environ

PING = 0x9
REVOKED = (CLOSE, (4501).to_bytes(2, "big") + b"token revoked")


def rotate_account_token(server: Server) -> None:
    done = subprocess.run(
        [RYZE, "account", "rotate", "default", "--data-dir", str(server.data_dir)],
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    server.account_token = done.stdout.strip()
    server.secrets.add(server.account_token)


def rotate_instance_token(server: Server) -> str:
    status, body = server.request("POST", "/api/instance/token/shop")
    assert status == 200, body
    token = str(body["data"]["token"])
    server.secrets.add(token)
    return token


@pytest.mark.parametrize("rotated", ["account", "instance"])
def test_connections_of_the_old_token_are_closed_and_others_stay(
    server: Server, rotated: str
) -> None:
    instance_token = server.create_instance("shop")
    tokens = {"account": server.account_token, "instance": instance_token}
    clients = {
        (owner, role): RawClient(*connect_arguments(server.url, f"shop{role}", token))
        for owner, token in tokens.items()
        for role in ("", "/publish")
    }
    try:
        server.wait_connected(4)
        if rotated == "account":
            rotate_account_token(server)
        else:
            instance_token = rotate_instance_token(server)
        for role in ("", "/publish"):
            assert next_frame(clients[rotated, role]) == REVOKED
        assert server.publish("shop", {"event": "call.update", "data": {}}) == 1
        other = clients["instance" if rotated == "account" else "account", ""]
        frame = json.loads(next_frame(other)[1])
        assert frame["instanceData"]["token"] == instance_token
    finally:
        for client in clients.values():
            client.close()


def next_frame(client: RawClient) -> tuple[int, bytes]:
    """The next frame; pings are skipped, as they may come at any time."""
    while (frame := client.receive())[0] == PING:
        pass
    return frame
