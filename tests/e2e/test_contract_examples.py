"""The examples of the specification, sent with curl unchanged."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .harness import E2E_FOLDER, Server, require_tool, run_bash

_EXAMPLES = (E2E_FOLDER / "contract_examples.md").read_text()
_CURL = dict(re.findall(r"## ([^\n]+)\n\n```bash[^\n]*\n(.*?)```", _EXAMPLES, re.S))
_SUCCESS, _FAILURE = map(json.loads, re.findall(r"```json[^\n]*\n(.*?)```", _EXAMPLES, re.S))


def send(command: str, server: Server, token: str, home: Path) -> tuple[int, dict[str, Any]]:
    """Run a command with the host replaced; status and JSON body."""
    require_tool("curl")
    # curl's configuration file adds the status to the output; the command stays unchanged.
    (home / ".curlrc").write_text(r'write-out = "\n%{http_code}"')
    written = command.replace("https://ryzeapi.cloud", server.url)
    output = run_bash(written, CURL_HOME=str(home), Instance_Name="shop", Token_Instance=token)
    text, _, status = output.rpartition("\n")
    body: dict[str, Any] = json.loads(text)
    return int(status), body


def success_response(**websocket: object) -> dict[str, Any]:
    """The success response of the specification, with another configuration."""
    return {**_SUCCESS, "websocket": websocket}


EXPECTED = {
    "Enable everything": {"enabled": True, "events": [], "mediaBase64": False},
    "Narrow filter": {
        "enabled": True,
        "events": ["message.exchange", "message.status"],
        "mediaBase64": True,
    },
    "Disable the websocket": {"enabled": False, "events": [], "mediaBase64": False},
}


def test_every_example_has_an_expected_response() -> None:
    assert list(_CURL) == list(EXPECTED)


@pytest.mark.parametrize("title", EXPECTED)
def test_example(title: str, server: Server, tmp_path: Path) -> None:
    token = server.create_instance("shop", websocketEvents=["call.update"])
    assert send(_CURL[title], server, token, tmp_path) == (200, success_response(**EXPECTED[title]))
    # The stored configuration is that of the response.
    status, stored = server.request("GET", "/api/events/getWebsocket/shop")
    assert (status, stored["websocket"]) == (200, EXPECTED[title])


def test_documented_success_response(server: Server, tmp_path: Path) -> None:
    """The request that matches the documented response gets it, keys in order."""
    token = server.create_instance("shop")
    body = json.dumps(_SUCCESS["websocket"])
    command = _CURL["Enable everything"].replace('{"enabled": true}', body)
    status, response = send(command, server, token, tmp_path)
    assert (status, json.dumps(response)) == (200, json.dumps(_SUCCESS))


def test_documented_error_response(server: Server, tmp_path: Path) -> None:
    token = server.create_instance("shop")
    command = _CURL["Enable everything"].replace("true", '"true"')
    status, response = send(command, server, token, tmp_path)
    assert (status, json.dumps(response)) == (400, json.dumps(_FAILURE))
