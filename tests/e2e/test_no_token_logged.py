"""No token is logged, valid or not, in whatever way and on whatever path it is sent.

`running_servers` searches the log of every server for tokens at its end.
"""

import subprocess
from itertools import product

from .harness import TIMEOUT_SECONDS, Server, clean_environ, require_tool

PATHS = ["/ws/shop", "/ws/nowhere", "/ws/", "/api/instance/list", "/api/nothing", "/health", "/"]
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
UPGRADE += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


def test_no_token_is_logged(server: Server) -> None:
    tokens = [server.create_instance("shop"), server.account_token, "wrong-token-000"]
    server.secrets.add("wrong-token-000")
    for path, upgrade, token in product(PATHS, ([], UPGRADE), tokens):
        send_token_in_every_way(server.url + path, upgrade, token)
    body = {"name": "other", "token": tokens[0], "websocketEnabled": tokens[0]}
    assert server.request("POST", "/api/instance/new", body)[0] == 409
    assert server.logged("connected"), "the valid tokens were accepted"
    assert server.logged("refused")


def send_token_in_every_way(url: str, headers: list[str], token: str) -> None:
    curl(url, *headers, f"token: {token}")
    curl(url, *headers, f"Authorization: Bearer {token}")
    curl(f"{url}?a=b&token={token}", *headers)
    curl(f"{url}?%74oken={token}", *headers)


def curl(url: str, *headers: str) -> None:
    # --max-time ends an accepted upgrade.
    flags = [flag for header in headers for flag in ("-H", header)]
    command = [require_tool("curl"), "-sS", "--max-time", "0.2", "-o", "/dev/null", *flags, url]
    done = subprocess.run(
        command, env=clean_environ(), capture_output=True, timeout=TIMEOUT_SECONDS
    )
    assert done.returncode in (0, 28), done.stderr
