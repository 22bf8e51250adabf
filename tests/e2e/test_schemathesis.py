"""The server against its own openapi.json: no 5xx, no undocumented status or body.

Schemathesis generates valid and invalid requests from the document, the same in every run. It runs
as a program, as it brings threads and a pytest plug-in of its own.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .harness import E2E_FOLDER, TIMEOUT_SECONDS, Server, clean_environ

RULES = (E2E_FOLDER / "schemathesis.toml").read_text()
HOOKS = f'hooks = "{E2E_FOLDER / "schemathesis_hooks.py"}"\n'

# All requests go to an existing instance: otherwise nearly all would be a 404.
ONE_INSTANCE = '[parameters]\ninstance = "demo"\n'


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (ONE_INSTANCE, ["--exclude-method=DELETE", "--phases=examples,coverage"]),
        ("", ["--phases=fuzzing,stateful"]),
    ],
    ids=["existing instance", "any instance"],
)
def test_responses_are_as_documented(
    server: Server, tmp_path: Path, config: str, options: list[str]
) -> None:
    server.create_instance("demo")
    file = tmp_path / "schemathesis.toml"
    file.write_text(HOOKS + config + RULES)
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", file]
    command += ["run", f"{server.url}/openapi.json", "-H", f"token: {server.account_token}"]
    command += ["--generation-deterministic", "--max-examples=5", "--no-color", *options]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[2]) > 50
