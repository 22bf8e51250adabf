"""Peers that are compiled before they run: Go with gorilla/websocket, and the bare C loop."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.peers.base import PROGRAMS, Peer, first_line
from bench.progress import Trouble

__all__ = ["CLoop", "Gorilla"]

# Where Debian puts the sources of Go packages.
_GO_PATH = Path("/usr/share/gocode")
_GORILLA = _GO_PATH / "src/github.com/gorilla/websocket"


class Gorilla(Peer):
    """The classic hub: a goroutine that owns the clients, a channel of 256 for each."""

    name = "gorilla"
    title = "Go gorilla hub"

    def is_available(self) -> str | None:
        """See `Peer`."""
        if shutil.which("go") is None:
            return "there is no Go: apt-get install golang-go"
        if not _GORILLA.is_dir():
            return "there is no gorilla: apt-get install golang-github-gorilla-websocket-dev"
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
        _build(self.name, ["go", "build", "-o", str(program), str(source)], environment)
        return [str(program), str(port)]


class CLoop(Peer):
    """The limit: a loop of ``send`` over all sockets, and nothing else."""

    name = "c"
    title = "bare C loop"
    bare = True

    def is_available(self) -> str | None:
        """See `Peer`."""
        return None if shutil.which("gcc") else "there is no gcc: apt-get install gcc libc6-dev"

    def version(self) -> str:
        """See `Peer`."""
        return first_line(_output(["gcc", "--version"]))

    def command(self, port: int, scratch: Path) -> list[str]:
        """See `Peer`."""
        program = scratch / "send_loop"
        source = PROGRAMS / "send_loop.c"
        _build(self.name, ["gcc", "-O2", "-Wall", "-o", str(program), str(source)], {})
        return [str(program), str(port)]


def _build(peer: str, command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = f"{command[0]} cannot build {command[-1]}: {first_line(done.stderr)}"
        raise Trouble(f"{peer}: {reason}")


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
