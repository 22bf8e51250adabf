"""A program that compares the configuration exactly finds what it has set, in its order."""

import json
import subprocess

from ryze.events.event import EVENT_TYPES

from .conftest import StartServer
from .harness import CAP, HERE, Server, environ, tool


def ensure(server: Server, token: str, events: list[str], **more: bool) -> str:
    """Run the program; what it says it has done."""
    wanted = {"enabled": True, "events": events, "mediaBase64": False} | more
    program = str(HERE / "programs/ensure_websocket.mjs")
    done = subprocess.run(
        [tool("node"), program, server.url, "shop", json.dumps(wanted)],
        env=environ(TOKEN=token),
        capture_output=True,
        text=True,
        timeout=CAP,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_set_is_found_exactly_as_it_was_set(server: Server) -> None:
    tool("node")
    token = server.create_instance("shop", websocketEnabled=None)
    backwards = sorted(EVENT_TYPES, reverse=True)
    shuffled = [backwards[index] for index in (3, 0, 5, 1, 4, 2)]
    for events in (backwards, shuffled, []):
        assert ensure(server, token, events) == "configured"
        assert ensure(server, token, events) == "unchanged"
    assert ensure(server, server.account_token, [], mediaBase64=True) == "configured"
    assert ensure(server, token, [], mediaBase64=True) == "unchanged"
    # Off, nothing of it is left.
    assert ensure(server, token, [], enabled=False) == "configured"
    assert ensure(server, token, [], enabled=False) == "unchanged"


def test_it_is_still_there_after_a_restart(server: Server, start_server: StartServer) -> None:
    token = server.create_instance("shop", websocketEnabled=None)
    events = ["label.update", "call.update", "message.exchange"]
    assert ensure(server, token, events, mediaBase64=True) == "configured"
    server.terminate()
    assert server.process.wait(CAP) == 0
    assert ensure(start_server(), token, events, mediaBase64=True) == "unchanged"
