"""Bad input prints one line that says what to do, and the rest of the run continues."""

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.server_process import ROOT

from ..ports import free_ports

SMALL = ("--no-plot", "--rounds", "1", "--seconds", "0.1", "-w", "1")


def run_question(
    question: str, *arguments: str, path: str | None = None, limit: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", **({"PATH": path} if path else {})}
    return subprocess.run(
        [sys.executable, "-m", f"bench.{question}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )


def read_measured(output: Path) -> set[tuple[str, int]]:
    rows = json.loads((output / "fanout.json").read_text())["results"]
    return {(row["server"], row["clients"]) for row in rows}


def test_peer_that_is_not_installed_is_skipped(tmp_path: Path) -> None:
    peers = "ryze,gorilla,c,nchan,node-ws"
    run = run_question(
        "fanout", "-n", "2", "--peers", peers, *SMALL, "--output", str(tmp_path), path="/nowhere"
    )
    assert run.returncode == 0
    for peer, package in (
        ("gorilla", "golang-go"),
        ("c", "gcc"),
        ("nchan", "nginx"),
        ("node-ws", "nodejs"),
    ):
        (line,) = (each for each in run.stderr.splitlines() if f"skipped {peer}:" in each)
        assert f"apt-get install {package}" in line
    assert read_measured(tmp_path) == {("ryze", 2)}


def test_port_in_use_skips_that_server(tmp_path: Path) -> None:
    """The port belongs to the first server; the second one takes the next port."""
    port, _ = free_ports(2)
    with socket.create_server(("127.0.0.1", port)):
        run = run_question(
            "fanout",
            *("-n", "2", "--peers", "ryze-http,ryze", "--port", str(port)),
            *(*SMALL, "--output", str(tmp_path)),
        )
    assert run.returncode == 0
    assert f"port {port}: Address already in use; choose another with --port" in run.stderr
    assert read_measured(tmp_path) == {("ryze", 2)}


def test_too_few_file_descriptors_skip_that_count(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    run = run_question(
        "fanout",
        *("-n", "2,101", "--peers", "ryze", *SMALL, "--output", str(tmp_path)),
        limit=limit,
    )
    assert run.returncode == 0
    assert "101 connections need 201 file descriptors, the limit is 200: raise it" in run.stderr
    assert read_measured(tmp_path) == {("ryze", 2)}


def test_last_results_stay_if_nothing_was_measured(tmp_path: Path) -> None:
    last = tmp_path / "fanout.json"
    last.write_text("last results")
    run = run_question("fanout", "--peers", "gorilla", "--output", str(tmp_path), path="/nowhere")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "Error: nothing was measured"
    assert last.read_text() == "last results"


@pytest.mark.parametrize(
    ("question", "option", "value", "message"),
    [
        ("fanout", "--clients", "0", "such as 1,8,64"),
        ("fanout", "--in-flight", "8,many", "such as 1,8,64"),
        ("fanout", "--peers", "nobody", "no such peer: nobody (there are: ryze, "),
        ("fanout", "--event-bytes", "64", "64 is not in the range x>=65"),
        ("fanout", "--rounds", "0", "0 is not in the range x>=1"),
        ("fanout", "--seconds", "0", "0.0 is not in the range x>0"),
        ("fanout", "--port", "65536", "65536 is not in the range 0<=x<=65535"),
        ("latency", "--clients", "0", "0 is not in the range x>=1"),
        ("latency", "--rate", "0", "0.0 is not in the range x>0"),
        ("connections", "--clients", "0", "0 is not in the range x>=1"),
        ("slow_clients", "--slow", "100", "--slow must be less than --clients"),
        ("slow_clients", "--slow", "0", "0 is not in the range x>=1"),
        ("slow_clients", "--read-rate", "-1", "-1.0 is not in the range x>=0"),
        ("slow_clients", "--most", "0", "0 is not in the range x>=1"),
        ("ingest", "--events", "0", "0 is not in the range x>=1"),
    ],
)
def test_invalid_value_is_a_usage_error(
    question: str, option: str, value: str, message: str
) -> None:
    run = run_question(question, option, value)
    assert run.returncode == 2
    assert message in run.stderr.splitlines()[-1]


@pytest.mark.parametrize("question", ["fanout", "latency", "slow_clients", "connections", "ingest"])
def test_help_lists_options(question: str) -> None:
    run = run_question(question, "--help")
    assert run.returncode == 0
    assert "--output DIRECTORY" in run.stdout
