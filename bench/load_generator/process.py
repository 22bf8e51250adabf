"""Handle of the load generator's process: start it, send it commands, read its responses."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.errors import MeasurementError
from bench.machine import raise_file_limit
from bench.peers import Peer
from bench.progress import warn
from bench.server_process import ROOT, ServerProcess, open_server, stop_process

__all__ = ["LoadGenerator", "open_all_servers", "open_load_generator", "open_server_with_load"]


class LoadGenerator:
    """The load generator of one server; see `bench.load_generator.__main__` for its commands."""

    def __init__(self, server: ServerProcess, process: subprocess.Popen[str]) -> None:
        self._server = server
        self._process = process

    def call(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command, wait for its response, and return the result.

        Raises:
            MeasurementError: the command failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        response: dict[str, Any] = (
            json.loads(line) if line else {"error": "the load generator has exited"}
        )
        if "error" in response:
            raise MeasurementError(f"{self._server.peer.name}: {command}: {response['error']}")
        result: dict[str, Any] = response["result"]
        return result

    def measure(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command; add the CPU time that the server used meanwhile to its result."""
        before = self._server.cpu_seconds()
        result = self.call(command, **arguments)
        result["server_cpu"] = self._server.cpu_seconds() - before
        return result

    def connect(
        self,
        count: int,
        *,
        concurrency: int = 64,
        strict: bool = True,
        has_small_windows: bool = False,
    ) -> dict[str, Any]:
        """Open subscribers.

        Args:
            count: how many.
            concurrency: handshakes at the same time.
            strict: all of them must succeed.
            has_small_windows: use the segments and windows of a network.

        Raises:
            MeasurementError: `strict`, and some handshakes failed.
        """
        result = self.call(
            "connect",
            count=count,
            concurrency=concurrency,
            has_small_windows=has_small_windows,
            instances=self._server.peer.instances,
            **self._address("subscribe_path"),
        )
        if strict and result["failures"]:
            raise MeasurementError(
                f"{self._server.peer.name}: some of {count} subscribers cannot connect:"
                f" {result['failures']}"
            )
        return result

    def open_producer(self, event_bytes: int) -> dict[str, Any]:
        """Open the producer, for events of this size.

        Raises:
            MeasurementError: the server has several instances, and an event reaches only one.
        """
        peer = self._server.peer
        if peer.instances > 1:
            raise MeasurementError(
                f"{peer.name} measures connections only: an event reaches one instance"
            )
        return self.call(
            "open_producer",
            kind=peer.producer,
            template=peer.event_template(event_bytes),
            **self._address("publish_path"),
        )

    def _address(self, path: str) -> dict[str, Any]:
        peer = self._server.peer
        return {
            "port": self._server.port,
            "path": getattr(peer, path),
            "headers": dict(peer.headers),
            "has_accept": peer.has_accept,
        }


@contextmanager
def open_load_generator(server: ServerProcess) -> Iterator[LoadGenerator]:
    """Start a load generator for a server, and stop it on exit."""
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
            stop_process(process)


@contextmanager
def open_server_with_load(
    peer: Peer, subscribers: int, event_bytes: int, port: int = 0, *, spare: int = 0
) -> Iterator[tuple[ServerProcess, LoadGenerator]]:
    """Start a server, and a load generator with connected subscribers and a producer.

    Args:
        peer: the server to start.
        subscribers: how many connect now.
        event_bytes: size of the producer's events.
        port: of the server; 0 for any.
        spare: how many more subscribers will connect later, for the limit of descriptors.

    Raises:
        MeasurementError: any of that failed.
    """
    raise_file_limit(subscribers + spare)
    with open_server(peer, port) as server, open_load_generator(server) as load:
        load.connect(subscribers)
        load.open_producer(event_bytes)
        yield server, load


def open_all_servers(
    stack: ExitStack, peers: list[Peer], subscribers: int, event_bytes: int, port: int
) -> dict[Peer, LoadGenerator]:
    """Start all servers with their load; warn about those that fail, and leave them out."""
    opened = {}
    for place, peer in enumerate(peers):
        try:
            opening = open_server_with_load(peer, subscribers, event_bytes, port and port + place)
            _, opened[peer] = stack.enter_context(opening)
        except MeasurementError as error:
            warn(str(error))
    return opened
