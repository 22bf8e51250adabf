"""The load generator's process: reads one command per line of standard input, as JSON.

    {"command": "connect", "count": 1000}          -> {"result": {"seconds": 0.4, "failures": {}}}
    {"command": "closed_loop", "seconds": 2, ...}  -> {"result": {"deliveries": 183000, ...}}
    {"command": "open_loop", "rate": 200, ...}     -> {"error": "DeliveryError: ..."}

The public methods of `Commands` are the commands. All times are those of
``time.perf_counter``, which is the same clock in all processes.
"""

import json
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.errors import DeliveryError
from bench.load_generator import publish_loops, stalled_clients
from bench.load_generator.client_group import ClientGroup
from bench.load_generator.subscribers import Address
from bench.websocket_client import HandshakeError

__all__ = ["Commands", "main"]

# Exceptions that a server can cause; any other one is a bug and ends the process.
_SERVER_ERRORS = (DeliveryError, HandshakeError, OSError, ValueError, KeyError)


class Commands:
    """The commands, for the clients of one server."""

    def __init__(self, clients: ClientGroup) -> None:
        self._clients = clients

    def connect(
        self,
        count: int,
        port: int,
        path: str,
        headers: dict[str, str],
        has_accept: bool,
        instances: int,
        concurrency: int,
        has_small_windows: bool = False,
    ) -> dict[str, Any]:
        """Open subscribers."""
        started = time.perf_counter()
        address = Address(port, path, headers, has_accept, instances)
        failures = self._clients.connect(
            address, count, concurrency, has_small_windows=has_small_windows
        )
        return {"seconds": time.perf_counter() - started, "failures": failures}

    def disconnect(self) -> dict[str, Any]:
        """Reset the connections of all subscribers."""
        self._clients.disconnect()
        return {}

    def open_producer(
        self,
        kind: str,
        port: int,
        path: str,
        headers: dict[str, str],
        has_accept: bool,
        template: str,
    ) -> dict[str, Any]:
        """Open the producer, and learn the size of a frame from a first event."""
        address = Address(port, path, headers, has_accept)
        return {"frame_size": self._clients.open_producer(kind, address, template)}

    def closed_loop(self, seconds: float, in_flight: int) -> dict[str, Any]:
        """See `publish_loops`."""
        return publish_loops.closed_loop(self._clients, seconds, in_flight)

    def open_loop(self, seconds: float, rate: float) -> dict[str, Any]:
        """See `publish_loops`."""
        return publish_loops.open_loop(self._clients, seconds, rate)

    def ingest_for(self, seconds: float, batch: int) -> dict[str, Any]:
        """See `publish_loops`."""
        return publish_loops.ingest_for(self._clients, seconds, batch)

    def ingest_count(self, count: int, batch: int) -> dict[str, Any]:
        """See `publish_loops`."""
        return publish_loops.ingest_count(self._clients, count, batch)

    def stall(self, count: int, read_rate: float) -> dict[str, Any]:
        """See `stalled_clients`."""
        return stalled_clients.stall(self._clients, count, read_rate)

    def overflow(self, max_events: int, close_seconds: float) -> dict[str, Any]:
        """See `stalled_clients`."""
        return stalled_clients.overflow(self._clients, max_events, close_seconds)

    def resume_reading(self, seconds: float) -> dict[str, Any]:
        """See `stalled_clients`."""
        return stalled_clients.resume_reading(self._clients, seconds)

    def close_stalled(self) -> dict[str, Any]:
        """See `stalled_clients`."""
        stalled_clients.close_stalled(self._clients)
        return {}


class _IdleClients:
    """The clients between two commands: answers pings, and detects unexpected frames."""

    def __init__(self, clients: ClientGroup) -> None:
        self._clients = clients
        # An error between two commands; the next command fails with it.
        self.error: Exception | None = None

    def filenos(self) -> list[int]:
        return [] if self.error else [self._clients.poller.fileno()]

    def receive(self) -> None:
        try:
            self._clients.receive_unsolicited()
        except _SERVER_ERRORS as error:
            self.error = error


def main() -> None:
    """Run commands from standard input until it ends."""
    clients = ClientGroup()
    commands, idle = Commands(clients), _IdleClients(clients)
    for line in _read_lines(idle):
        try:
            if idle.error:
                raise idle.error
            response: dict[str, Any] = {"result": _run(commands, json.loads(line))}
        except _SERVER_ERRORS as error:
            response = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(response), flush=True)


def _run(commands: Commands, request: dict[str, Any]) -> dict[str, Any]:
    command: Callable[..., dict[str, Any]] = getattr(commands, request.pop("command"))
    return command(**request)


def _read_lines(idle: _IdleClients) -> Iterator[str]:
    """Yield the lines of standard input; serve idle clients while waiting for the next one."""
    while True:
        poller = select.poll()
        poller.register(sys.stdin, select.POLLIN)
        for fd in idle.filenos():
            poller.register(fd, select.POLLIN)
        if any(fd == sys.stdin.fileno() for fd, _ in poller.poll()):
            # The caller sends one command at a time. A second line would be in the buffer of
            # `sys.stdin`, where poll() does not see it.
            line = sys.stdin.readline()
            if not line:
                return
            yield line
        else:
            idle.receive()


if __name__ == "__main__":
    main()
