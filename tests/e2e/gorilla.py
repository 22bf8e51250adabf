"""A Go client with gorilla/websocket from Debian's package; built at its first use."""

import functools
import json
import queue
import subprocess
import threading
from pathlib import Path

import pytest

from .harness import E2E_FOLDER, TIMEOUT_SECONDS, clean_environ, require_tool

__all__ = ["GorillaClient"]

# Debian's location of Go package sources.
_GO_PATH = Path("/usr/share/gocode")
_PACKAGE = "github.com/gorilla/websocket"


@functools.cache
def _program() -> Path:
    """Build ``programs/gorilla_subscriber.go``, once per session; the path of the program."""
    go = require_tool("go")
    if not (_GO_PATH / "src" / _PACKAGE).is_dir():
        pytest.skip("golang-github-gorilla-websocket-dev is not installed (.ci/run installs it)")
    built = E2E_FOLDER / "build" / "gorilla_subscriber"
    done = subprocess.run(
        [go, "build", "-o", str(built), str(E2E_FOLDER / "programs/gorilla_subscriber.go")],
        # cgo would need a C compiler as well.
        env=clean_environ(GO111MODULE="off", GOPATH=str(_GO_PATH), CGO_ENABLED="0"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return built


class GorillaClient:
    """gorilla's default dialer, and one JSON document per frame."""

    def __init__(self, target: str, headers: dict[str, str]) -> None:
        flat = [text for header in headers.items() for text in header]
        self._process = subprocess.Popen(
            [str(_program()), target, *flat],
            env=clean_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Lines of its output; None at the end.
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def receive(self) -> str:
        line = self._lines.get(timeout=TIMEOUT_SECONDS)
        if line is None:
            assert self._process.stderr is not None
            pytest.fail(f"the Go client ended: {self._process.stderr.read()}")
        return str(json.loads(line))

    def close(self) -> None:
        with self._process:
            self._process.kill()
            self._thread.join(TIMEOUT_SECONDS)
