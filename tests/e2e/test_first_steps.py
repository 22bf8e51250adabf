"""First start: the commands that the server prints work when they are pasted."""

import json
import re
import subprocess
from pathlib import Path

from .conftest import StartServer
from .harness import RYZE, Server, clean_environ, require_tool, run_bash, wait_until
from .terminal import Terminal


def commands(printed: str) -> list[str]:
    """The indented blocks in the output of a first start, without the token."""
    blocks = re.findall(r"(?:^ {2}\S.*\n)+", printed, re.M)
    return [block for block in blocks if len(block.split()) > 1]


def test_printed_commands_work(start_server: StartServer, tmp_path: Path) -> None:
    require_tool("curl")
    server = start_server()
    first, second = commands(server.output)
    (export,) = re.findall(r"^ *export .*\n", first, re.M)
    with Terminal(first, tmp_path) as terminal:
        server.wait_connected(1)
        response = run_bash(export + second)
        assert json.loads(response)["clients"] == 1
        (line,) = wait_until(
            lambda: terminal.printed_lines('"event"'), "ryze listen prints the event"
        )
    frame = json.loads(line)
    assert (frame["event"], frame["data"]) == ("message.exchange", {"text": "hello"})
    server.secrets.add(frame["instanceData"]["token"])


def test_second_start_prints_no_token(start_server: StartServer) -> None:
    first = start_server()
    first.terminate()
    assert first.process.wait() == 0
    second = start_server()
    assert second.output == f"Ryze listens on {second.url}\n"


def run_account(server: Server, *arguments: str) -> str:
    done = subprocess.run(
        [RYZE, "account", *arguments],
        env=clean_environ(RYZE_DATA_DIR=str(server.data_dir)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def status(server: Server, token: str) -> int:
    return server.request("GET", "/api/instance/list", token=token)[0]


def test_accounts_are_created_and_rotated_while_the_server_runs(server: Server) -> None:
    created = run_account(server, "create", "second")
    server.secrets.add(created)
    wait_until(lambda: status(server, created) == 200, "the new token works")
    listed = [line.split("\t")[1] for line in run_account(server, "list").splitlines()]
    assert listed == ["default", "second"]

    rotated = run_account(server, "rotate", "second")
    server.secrets.add(rotated)
    wait_until(lambda: status(server, rotated) == 200, "the rotated token works")
    assert status(server, created) == 401
    assert status(server, server.account_token) == 200
