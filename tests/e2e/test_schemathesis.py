"""The server against its own openapi.json: no 5xx, no status and no body that is not in there.

Schemathesis makes requests from the document, right and wrong ones, the same at every run. It is
started as a user would: it brings its own threads and its own pytest plug-in.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .harness import CAP, HERE, Server, environ

RULES = (HERE / "schemathesis.toml").read_text()
HOOKS = f'hooks = "{HERE / "schemathesis_hooks.py"}"\n'

# Requests that go to the instance which is there: else nearly all would end with a 404.
TO_ONE = '[parameters]\ninstance = "demo"\n'


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (TO_ONE, ["--exclude-method=DELETE", "--phases=examples,coverage"]),
        ("", ["--phases=fuzzing,stateful"]),
    ],
    ids=["to an instance", "to any"],
)
def test_answers_are_as_documented(
    server: Server, tmp_path: Path, config: str, options: list[str]
) -> None:
    server.create_instance("demo")
    file = tmp_path / "schemathesis.toml"
    file.write_text(HOOKS + config + RULES)
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", file]
    command += ["run", f"{server.url}/openapi.json", "-H", f"token: {server.account_token}"]
    command += ["--generation-deterministic", "--max-examples=5", "--no-color", *options]
    done = subprocess.run(
        command, cwd=tmp_path, env=environ(), capture_output=True, text=True, timeout=2 * CAP
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[2]) > 50
