"""Notifications to the service manager, and signals during the start."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import RYZE, TIMEOUT_SECONDS, StartServer, clean_environ, wait_until

SIGTERM_AND_SIGINT = 1 << signal.SIGTERM - 1 | 1 << signal.SIGINT - 1


@pytest.mark.parametrize("form", ["path", "abstract"])
def test_service_manager_is_notified(
    start_process: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(TIMEOUT_SECONDS)
        manager.bind(address if form == "path" else "\0" + address)
        monkeypatch.setenv("NOTIFY_SOCKET", address if form == "path" else "@" + address)
        server = start_process()
        assert manager.recv(100) == b"READY=1"
        # READY must not be sent before requests are served.
        assert server.request("GET", "/health")[0] == 200
        server.terminate()
        assert manager.recv(100) == b"STOPPING=1"
        assert server.process.wait(TIMEOUT_SECONDS) == 0


def test_signal_during_the_start_is_not_lost(tmp_path: Path) -> None:
    variables = {"RYZE_PORT": "0", "RYZE_DATA_DIR": str(tmp_path), "RYZE_LOG_FORMAT": "json"}
    with subprocess.Popen(
        [RYZE, "serve"],
        env=clean_environ(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # From now on the kernel keeps the signal until a handler is installed.
        wait_until(
            lambda: blocked_signals(process) == SIGTERM_AND_SIGINT or process.poll(),
            "signals are blocked",
        )
        process.terminate()
        _, log = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0
    assert '"stopping"' in log
    assert '"stopped"' in log


def blocked_signals(process: subprocess.Popen[str]) -> int:
    """Mask of the blocked signals. Starting a thread blocks all of them for a moment."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("SigBlk:")[2].split()[0], 16)
