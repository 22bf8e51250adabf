"""A client in Go, with gorilla/websocket as Debian packages it; built at its first use."""

import functools
import json
import queue
import subprocess
import threading
from pathlib import Path

import pytest

from .harness import CAP, HERE, environ, tool

__all__ = ["GorillaClient"]

# Where Debian puts the sources of Go packages.
_GO_PATH = Path("/usr/share/gocode")
_PACKAGE = "github.com/gorilla/websocket"


@functools.cache
def _program() -> Path:
    """What is built from ``programs/gorilla_subscriber.go``: once a session, from Go's own cache."""
    go = tool("go")
    if not (_GO_PATH / "src" / _PACKAGE).is_dir():
        pytest.skip("golang-github-gorilla-websocket-dev is not installed (.ci/run installs it)")
    built = HERE / "build" / "gorilla_subscriber"
    done = subprocess.run(
        [go, "build", "-o", str(built), str(HERE / "programs/gorilla_subscriber.go")],
        # Without cgo: that would ask for a C compiler as well.
        env=environ(GO111MODULE="off", GOPATH=str(_GO_PATH), CGO_ENABLED="0"),
        capture_output=True,
        text=True,
        timeout=CAP,
    )
    assert done.returncode == 0, done.stderr
    return built


class GorillaClient:
    """gorilla's default dialer, and one JSON decode a frame."""

    def __init__(self, target: str, headers: dict[str, str]) -> None:
        flat = [text for header in headers.items() for text in header]
        self._process = subprocess.Popen(
            [str(_program()), target, *flat],
            env=environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Its lines; None where they end.
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def receive(self) -> str:
        line = self._lines.get(timeout=CAP)
        if line is None:
            assert self._process.stderr is not None
            pytest.fail(f"the Go client has ended: {self._process.stderr.read()}")
        return str(json.loads(line))

    def close(self) -> None:
        with self._process:
            self._process.kill()
            self._thread.join(CAP)
