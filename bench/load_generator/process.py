"""The load generator's process, seen from outside; `bench.load` is its inside."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.machine import raise_file_limit
from bench.peers import Peer
from bench.progress import Trouble, tell
from bench.server_process import ROOT, Server, running, stop

__all__ = ["LoadGenerator", "load_generator", "open_all", "subscribed"]


class LoadGenerator:
    """The process of `bench.load`; its commands are methods here."""

    def __init__(self, server: Server, process: subprocess.Popen[str]) -> None:
        self._server = server
        self._process = process

    def call(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Let it carry out a command.

        Raises:
            Trouble: it says that this went wrong.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer: dict[str, Any] = (
            json.loads(line) if line else {"error": "the load generator has died"}
        )
        if "error" in answer:
            raise Trouble(f"{self._server.peer.name}: {command}: {answer['error']}")
        ok: dict[str, Any] = answer["ok"]
        return ok

    def connect(
        self, count: int, *, at_once: int = 64, strict: bool = True, narrow: bool = False
    ) -> dict[str, Any]:
        """Open subscribers; with `strict`, all of them must come up.

        Those that are `narrow` have small windows, as over a real network.
        """
        done = self.call(
            "connect",
            count=count,
            at_once=at_once,
            narrow=narrow,
            instances=self._server.peer.instances,
            **self._address("subscribe_path"),
        )
        if strict and done["failures"]:
            raise Trouble(f"{self._server.peer.name}: not all connect: {done['failures']}")
        return done

    def open_publisher(self, event_bytes: int) -> dict[str, Any]:
        """Open the publisher, for events of this size.

        Raises:
            Trouble: no event reaches all subscribers of this peer.
        """
        peer = self._server.peer
        if peer.instances > 1:
            raise Trouble(f"{peer.name} is for connections alone: an event has one instance")
        return self.call(
            "publisher",
            kind=peer.publisher,
            template=peer.template(event_bytes),
            **self._address("publish_path"),
        )

    def measured(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Carry out a command, and see what the server has taken for it."""
        before = self._server.cpu_seconds()
        result = self.call(command, **arguments)
        result["server_cpu"] = self._server.cpu_seconds() - before
        return result

    def _address(self, path: str) -> dict[str, Any]:
        peer = self._server.peer
        return {
            "port": self._server.port,
            "path": getattr(peer, path),
            "headers": dict(peer.headers),
            "bare": peer.bare,
        }


@contextmanager
def load_generator(server: Server) -> Iterator[LoadGenerator]:
    """Start a load generator, and stop it in the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.load_generator"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield LoadGenerator(server, process)
        finally:
            stop(process)


@contextmanager
def subscribed(
    peer: Peer, clients: int, event_bytes: int, port: int = 0, *, more: int = 0
) -> Iterator[tuple[Server, LoadGenerator]]:
    """A fresh server with so many subscribers and a publisher; `more` will come at a time.

    Raises:
        Trouble: any of that cannot be had.
    """
    raise_file_limit(clients + more)
    with running(peer, port) as server, load_generator(server) as load:
        load.connect(clients)
        load.open_publisher(event_bytes)
        yield server, load


def open_all(
    stack: ExitStack, peers: list[Peer], clients: int, event_bytes: int, port: int
) -> dict[Peer, tuple[Server, LoadGenerator]]:
    """Start all servers, each with its subscribers; those that fail are told of, and left out."""
    opened = {}
    for place, peer in enumerate(peers):
        try:
            opening = subscribed(peer, clients, event_bytes, port and port + place)
            opened[peer] = stack.enter_context(opening)
        except Trouble as trouble:
            tell(str(trouble))
    return opened
