"""A client that compares configurations as text reads back exactly what it has set."""

import json
import subprocess

from ryze.events.event import EVENT_TYPES

from .conftest import StartServer
from .harness import E2E_FOLDER, TIMEOUT_SECONDS, Server, clean_environ, require_tool


def ensure_configuration(server: Server, token: str, events: list[str], **more: bool) -> str:
    """Run the client; "configured" or "unchanged"."""
    wanted = {"enabled": True, "events": events, "mediaBase64": False} | more
    program = str(E2E_FOLDER / "programs/ensure_websocket.mjs")
    done = subprocess.run(
        [require_tool("node"), program, server.url, "shop", json.dumps(wanted)],
        env=clean_environ(TOKEN=token),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_configuration_is_read_back_exactly(server: Server) -> None:
    require_tool("node")
    token = server.create_instance("shop", websocketEnabled=None)
    backwards = sorted(EVENT_TYPES, reverse=True)
    shuffled = [backwards[index] for index in (3, 0, 5, 1, 4, 2)]
    for events in (backwards, shuffled, []):
        assert ensure_configuration(server, token, events) == "configured"
        assert ensure_configuration(server, token, events) == "unchanged"
    assert ensure_configuration(server, server.account_token, [], mediaBase64=True) == "configured"
    assert ensure_configuration(server, token, [], mediaBase64=True) == "unchanged"
    # Disabling resets the other settings.
    assert ensure_configuration(server, token, [], enabled=False) == "configured"
    assert ensure_configuration(server, token, [], enabled=False) == "unchanged"


def test_configuration_survives_a_restart(server: Server, start_server: StartServer) -> None:
    token = server.create_instance("shop", websocketEnabled=None)
    events = ["label.update", "call.update", "message.exchange"]
    assert ensure_configuration(server, token, events, mediaBase64=True) == "configured"
    server.terminate()
    assert server.process.wait(TIMEOUT_SECONDS) == 0
    assert ensure_configuration(start_server(), token, events, mediaBase64=True) == "unchanged"
