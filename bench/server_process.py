"""Servers under test, as processes."""

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

from bench.peers import Peer
from bench.progress import Trouble

__all__ = ["ROOT", "Server", "running", "stop"]

ROOT = Path(__file__).parent.parent

_START_SECONDS = 30
_STOP_SECONDS = 15


class Server:
    """A server that runs and accepts connections."""

    def __init__(self, peer: Peer, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.peer = peer
        self.port = port
        self.log = log
        self._process = process

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """User and system time that it has taken so far, all its processes together."""
        times = [process.cpu_times() for process in self._processes()]
        return float(sum(each.user + each.system for each in times))

    def memory(self) -> int:
        """Bytes of resident memory."""
        return sum(process.memory_info().rss for process in self._processes())

    def drops(self) -> dict[int, int]:
        """Of the clients that it says it has dropped: port -> events published by then."""
        lines = [line.split() for line in self.log.read_text(errors="replace").splitlines()]
        return {int(words[2]): int(words[1]) for words in lines if words[:1] == ["dropped"]}


@contextmanager
def running(peer: Peer, port: int = 0) -> Iterator[Server]:
    """Start a server, and stop it in the end.

    Raises:
        Trouble: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="ryze-bench-") as directory:
        scratch = Path(directory)
        port = _checked_port(port)
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
        server = Server(peer, port, process, log)
        try:
            _wait_until_it_accepts(server, process)
            _prepare(server)
            yield server
        finally:
            stop(process)


def _checked_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise Trouble(f"port {port}: {_why(error)}; choose another with --port") from error
        return int(probe.getsockname()[1])


def _wait_until_it_accepts(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Trouble(f"{server.peer.name} does not start: {_reason(server.log)}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.05)
    raise Trouble(f"{server.peer.name} does not accept connections on port {server.port}")


def _prepare(server: Server) -> None:
    try:
        server.peer.prepare(server.port)
    except OSError as error:
        raise Trouble(f"{server.peer.name} cannot be prepared: {error}") from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _reason(log: Path) -> str:
    """The last line that speaks of an error, or else the last one."""
    words = log.read_text(errors="replace").strip().splitlines()
    return next((line for line in reversed(words) if "rror" in line), words[-1] if words else "?")


def stop(process: subprocess.Popen[Any]) -> None:
    """End a process, by force if it does not end by itself."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
