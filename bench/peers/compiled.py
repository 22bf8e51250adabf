"""Peers that are compiled first: Go with gorilla/websocket, and the bare C loop."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.errors import MeasurementError
from bench.peers.base import PROGRAMS, Peer, first_line

__all__ = ["CLoop", "Gorilla"]

# Directory of Go sources in Debian packages.
_GO_PATH = Path("/usr/share/gocode")
_GORILLA = _GO_PATH / "src/github.com/gorilla/websocket"


class Gorilla(Peer):
    """gorilla/websocket's hub: one goroutine owns the clients, each with a channel of 256."""

    name = "gorilla"
    title = "Go gorilla hub"

    def install_hint(self) -> str | None:
        """See `Peer`."""
        if shutil.which("go") is None:
            return "Go is not installed: apt-get install golang-go"
        if not _GORILLA.is_dir():
            return (
                "gorilla/websocket is not installed:"
                " apt-get install golang-github-gorilla-websocket-dev"
            )
        return None

    def version(self) -> str:
        """See `Peer`."""
        query = ["dpkg-query", "-Wf${Version}", "golang-github-gorilla-websocket-dev"]
        go = _output(["go", "version"]).removeprefix("go version ")
        return f"{go}, gorilla/websocket {_output(query)}"

    def command(self, port: int, scratch: Path) -> list[str]:
        """See `Peer`."""
        environment = {
            "GO111MODULE": "off",
            "GOPATH": str(_GO_PATH),
            "GOCACHE": str(Path.home() / ".cache/go-build"),
        }
        program = scratch / "hub"
        source = PROGRAMS / "gorilla_hub.go"
        _compile(self.name, ["go", "build", "-o", str(program), str(source)], environment)
        return [str(program), str(port)]


class CLoop(Peer):
    """The upper bound: a loop of ``send`` over all sockets, and nothing else."""

    name = "c"
    title = "bare C loop"
    has_accept = False

    def install_hint(self) -> str | None:
        """See `Peer`."""
        if shutil.which("gcc") is None:
            return "gcc is not installed: apt-get install gcc libc6-dev"
        return None

    def version(self) -> str:
        """See `Peer`."""
        return first_line(_output(["gcc", "--version"]))

    def command(self, port: int, scratch: Path) -> list[str]:
        """See `Peer`."""
        program = scratch / "send_loop"
        source = PROGRAMS / "send_loop.c"
        _compile(self.name, ["gcc", "-O2", "-Wall", "-o", str(program), str(source)], {})
        return [str(program), str(port)]


def _compile(peer: str, command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = f"{command[0]} cannot compile {command[-1]}: {first_line(done.stderr)}"
        raise MeasurementError(f"{peer}: {reason}")


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
