"""A server under test as a child process: start, CPU time, memory, evictions, stop."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from bench.errors import MeasurementError
from bench.peers import Peer

__all__ = ["ROOT", "ServerProcess", "open_server", "stop_process"]

ROOT = Path(__file__).parent.parent

_START_SECONDS = 30
_STOP_SECONDS = 15


class ServerProcess:
    """A running server that accepts connections."""

    def __init__(self, peer: Peer, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.peer = peer
        self.port = port
        self.log = log
        self._process = process

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return user and system time so far, over all its processes."""
        times = [process.cpu_times() for process in self._processes()]
        return float(sum(each.user + each.system for each in times))

    def resident_bytes(self) -> int:
        """Return resident memory, over all its processes."""
        return sum(process.memory_info().rss for process in self._processes())

    def evictions(self) -> dict[int, int]:
        """Return the evictions it has printed: client's port -> events published by then."""
        lines = [line.split() for line in self.log.read_text(errors="replace").splitlines()]
        return {int(words[2]): int(words[1]) for words in lines if words[:1] == ["evicted"]}


@contextmanager
def open_server(peer: Peer, port: int = 0) -> Iterator[ServerProcess]:
    """Start a server, wait until it accepts connections, and stop it on exit.

    Raises:
        MeasurementError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="ryze-bench-") as directory:
        scratch = Path(directory)
        port = _find_port(port)
        command = peer.command(port, scratch)
        log = scratch / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **peer.environment},
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = ServerProcess(peer, port, process, log)
        try:
            _wait_accepting(server, process)
            _prepare(server)
            yield server
        finally:
            stop_process(process)


def _find_port(port: int) -> int:
    """Check that the port is free, or find a free one if it is 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"port {port}: {reason}; choose another with --port"
            raise MeasurementError(message) from error
        return int(probe.getsockname()[1])


def _wait_accepting(server: ServerProcess, process: subprocess.Popen[bytes]) -> None:
    name = server.peer.name
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise MeasurementError(f"{name} does not start: {_find_error_line(server.log)}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.05)
    raise MeasurementError(
        f"{name} does not accept connections on port {server.port} after {_START_SECONDS} s"
    )


def _prepare(server: ServerProcess) -> None:
    try:
        server.peer.prepare(server.port)
    except OSError as error:
        raise MeasurementError(f"{server.peer.name} cannot be prepared: {error}") from error


def _find_error_line(log: Path) -> str:
    """Return the last line that mentions an error, or else the last one."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "?")


def stop_process(process: subprocess.Popen[Any]) -> None:
    """Terminate a process; kill it if it has not ended after 15 s."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
