"""A token that is changed ends what it opened, also when another process changes it."""

import json
import subprocess

import pytest

from .clients import CLOSE, RawClient, address
from .harness import CAP, RYZE, Server, environ

PING = 0x9
REVOKED = (CLOSE, (4501).to_bytes(2, "big") + b"token revoked")


def rotate_account(server: Server) -> None:
    done = subprocess.run(
        [RYZE, "account", "rotate", "default", "--data-dir", str(server.data_dir)],
        env=environ(),
        capture_output=True,
        text=True,
        check=True,
        timeout=CAP,
    )
    server.account_token = done.stdout.strip()
    server.secrets.add(server.account_token)


def change_instance(server: Server) -> str:
    status, answer = server.request("POST", "/api/instance/token/shop")
    assert status == 200, answer
    token = str(answer["data"]["token"])
    server.secrets.add(token)
    return token


@pytest.mark.parametrize("which", ["account", "instance"])
def test_subscribers_and_publishers_of_the_old_token_end_and_the_others_stay(
    server: Server, which: str
) -> None:
    instance_token = server.create_instance("shop")
    tokens = {"account": server.account_token, "instance": instance_token}
    clients = {
        (owner, role): RawClient(*address(server.url, f"shop{role}", token))
        for owner, token in tokens.items()
        for role in ("", "/publish")
    }
    try:
        server.wait_connected(4)
        if which == "account":
            rotate_account(server)
        else:
            instance_token = change_instance(server)
        for role in ("", "/publish"):
            assert next_frame(clients[which, role]) == REVOKED
        assert server.publish("shop", {"event": "call.update", "data": {}}) == 1
        stays = clients["instance" if which == "account" else "account", ""]
        frame = json.loads(next_frame(stays)[1])
        assert frame["instanceData"]["token"] == instance_token
    finally:
        for client in clients.values():
            client.close()


def next_frame(client: RawClient) -> tuple[int, bytes]:
    """The next frame that is no ping: when those come is a matter of chance."""
    while (frame := client.receive())[0] == PING:
        pass
    return frame
