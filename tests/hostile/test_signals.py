"""What whoever started the server is told, and how early it can change its mind."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import CAP, RYZE, StartServer, environ, wait_until

HELD = 1 << signal.SIGTERM - 1 | 1 << signal.SIGINT - 1


@pytest.mark.parametrize("form", ["path", "abstract"])
def test_a_service_manager_is_told(
    start_process: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(CAP)
        manager.bind(address if form == "path" else "\0" + address)
        monkeypatch.setenv("NOTIFY_SOCKET", address if form == "path" else "@" + address)
        server = start_process()
        assert manager.recv(100) == b"READY=1"
        # It is: there is no sooner than this.
        assert server.request("GET", "/health")[0] == 200
        server.terminate()
        assert manager.recv(100) == b"STOPPING=1"
        assert server.process.wait(CAP) == 0


def test_a_signal_before_it_serves_is_not_lost(tmp_path: Path) -> None:
    variables = {"RYZE_PORT": "0", "RYZE_DATA_DIR": str(tmp_path), "RYZE_LOG_FORMAT": "json"}
    with subprocess.Popen(
        [RYZE, "serve"],
        env=environ(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # From here on it is kept, long before there is anybody to handle it.
        wait_until(lambda: blocked_signals(process) == HELD or process.poll(), "held")
        process.terminate()
        _, log = process.communicate(timeout=CAP)
    assert process.returncode == 0
    assert '"stopping"' in log
    assert '"stopped"' in log


def blocked_signals(process: subprocess.Popen[str]) -> int:
    """One bit each; all of them for a moment whenever a thread is started."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("SigBlk:")[2].split()[0], 16)
