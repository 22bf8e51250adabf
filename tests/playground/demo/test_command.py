"""``ryze demo`` as a command: ends by itself or by a signal."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import ryze.playground.demo
from ryze.cli import cli
from ryze.playground.demo.command import _LineWriter


def test_warnings_of_the_server_are_passed_on_as_lines() -> None:
    lines: list[str] = []
    _LineWriter(lines.append).write("one\ntwo\n")
    assert lines == ["one", "two"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-W", "error", "-m", "ryze", "demo"]
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        try:
            for line in started.stdout:
                if "producers started" in line:
                    started.send_signal(number)
                    break
            assert "events published" in started.stdout.read()
            assert started.wait(30) == 0
            assert started.stderr.read() == ""
        finally:
            started.kill()
    assert list(tmp_path.iterdir()) == []


def test_the_command_passes_its_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    durations: list[float] = []
    monkeypatch.setattr(ryze.playground.demo, "run", durations.append)
    assert CliRunner().invoke(cli, ["demo"]).exit_code == 0
    assert CliRunner().invoke(cli, ["demo", "--seconds", "2.5"]).exit_code == 0
    assert CliRunner().invoke(cli, ["demo", "--seconds", "0"]).exit_code == 2
    assert durations == [60.0, 2.5]
