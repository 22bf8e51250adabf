"""No token in the log, however it was sent.

Every server of these tests is searched for tokens at its end (conftest.py); here they are sent
in every way and on every path, the wrong ones too.
"""

import subprocess
from itertools import product

from .harness import CAP, Server, environ, tool

PATHS = ["/ws/shop", "/ws/nowhere", "/ws/", "/api/instance/list", "/api/nothing", "/health", "/"]
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
UPGRADE += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


def test_no_token_is_logged(server: Server) -> None:
    tokens = [server.create_instance("shop"), server.account_token, "wrong-token-000"]
    server.secrets.add("wrong-token-000")
    for path, upgrade, token in product(PATHS, ([], UPGRADE), tokens):
        send_in_every_way(server.url + path, upgrade, token)
    body = {"name": "other", "token": tokens[0], "websocketEnabled": tokens[0]}
    assert server.request("POST", "/api/instance/new", body)[0] == 409
    assert server.logged("connected"), "those that were right have got in"
    assert server.logged("refused")


def send_in_every_way(url: str, headers: list[str], token: str) -> None:
    curl(url, *headers, f"token: {token}")
    curl(url, *headers, f"Authorization: Bearer {token}")
    curl(f"{url}?a=b&token={token}", *headers)
    curl(f"{url}?%74oken={token}", *headers)


def curl(url: str, *headers: str) -> None:
    # An upgrade that succeeds would go on and on.
    flags = [flag for header in headers for flag in ("-H", header)]
    command = [tool("curl"), "-sS", "--max-time", "0.2", "-o", "/dev/null", *flags, url]
    done = subprocess.run(command, env=environ(), capture_output=True, timeout=CAP)
    assert done.returncode in (0, 28), done.stderr
