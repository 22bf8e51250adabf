"""The examples of the specification, sent with curl as they are written there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .harness import HERE, Server, bash, tool

_EXAMPLES = (HERE / "contract_examples.md").read_text()
_CURL = dict(re.findall(r"## ([^\n]+)\n\n```bash[^\n]*\n(.*?)```", _EXAMPLES, re.S))
_SUCCESS, _FAILURE = map(json.loads, re.findall(r"```json[^\n]*\n(.*?)```", _EXAMPLES, re.S))


def send(command: str, server: Server, token: str, home: Path) -> tuple[int, dict[str, Any]]:
    """Run one command with the host replaced; status and answer."""
    tool("curl")
    # The status comes by way of curl's configuration, so that the command stays as it is.
    (home / ".curlrc").write_text(r'write-out = "\n%{http_code}"')
    written = command.replace("https://ryzeapi.cloud", server.url)
    output = bash(written, CURL_HOME=str(home), Instance_Name="shop", Token_Instance=token)
    text, _, status = output.rpartition("\n")
    answer: dict[str, Any] = json.loads(text)
    return int(status), answer


def answer_for(**websocket: object) -> dict[str, Any]:
    """The success response of the specification, about another configuration."""
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


def test_every_example_has_an_expected_answer() -> None:
    assert list(_CURL) == list(EXPECTED)


@pytest.mark.parametrize("title", EXPECTED)
def test_example(title: str, server: Server, tmp_path: Path) -> None:
    token = server.create_instance("shop", websocketEvents=["call.update"])
    assert send(_CURL[title], server, token, tmp_path) == (200, answer_for(**EXPECTED[title]))
    # In the order of the documentation, and what was answered is what was stored.
    status, stored = server.request("GET", "/api/events/getWebsocket/shop")
    assert (status, stored["websocket"]) == (200, EXPECTED[title])


def test_the_answer_that_is_written_out(server: Server, tmp_path: Path) -> None:
    """The body that the documented answer mirrors gives that answer, keys in order."""
    token = server.create_instance("shop")
    body = json.dumps(_SUCCESS["websocket"])
    command = _CURL["Enable everything"].replace('{"enabled": true}', body)
    status, answer = send(command, server, token, tmp_path)
    assert (status, json.dumps(answer)) == (200, json.dumps(_SUCCESS))


def test_the_error_that_is_written_out(server: Server, tmp_path: Path) -> None:
    token = server.create_instance("shop")
    command = _CURL["Enable everything"].replace("true", '"true"')
    status, answer = send(command, server, token, tmp_path)
    assert (status, json.dumps(answer)) == (400, json.dumps(_FAILURE))
