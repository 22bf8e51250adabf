"""The load generator: a process of its own that is told what to do, one JSON line at a time.

    {"do": "connect", "count": 1000}          -> {"ok": {"seconds": 0.4, "failures": {}}}
    {"do": "closed_loop", "seconds": 2, ...}  -> {"ok": {"deliveries": 183000, ...}}

The methods of `Load` that `_COMMANDS` names are the commands. It is one thread with raw sockets
and epoll. All times are those of ``time.perf_counter``, which is the same clock in all
processes.
"""

import json
import select
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.load_generator import publish_loops as loops
from bench.load_generator import stalled_clients as stalling
from bench.load_generator.client_group import Crowd, LoadError
from bench.load_generator.subscribers import Address
from bench.websocket_client import HandshakeError

__all__ = ["Load", "main"]

# What a server can bring about.
_FAILURES = (LoadError, HandshakeError, OSError, ValueError, KeyError)


class Load:
    """The commands."""

    def __init__(self) -> None:
        self._crowd = Crowd()
        # What went wrong between two commands; the next one fails with it.
        self.failure: Exception | None = None

    def filenos(self) -> list[int]:
        """What becomes readable when somebody is to be attended to."""
        return [] if self.failure else [self._crowd.poller.fileno()]

    def attend(self) -> None:
        """Answer pings between two commands."""
        try:
            self._crowd.attend()
        except _FAILURES as error:
            self.failure = error

    def connect(
        self,
        count: int,
        port: int,
        path: str,
        headers: dict[str, str],
        bare: bool,
        instances: int,
        at_once: int,
        narrow: bool = False,
    ) -> dict[str, Any]:
        """Open so many subscribers; at_once 0 means all of them at the same time."""
        started = time.perf_counter()
        address = Address(port, path, headers, bare, instances)
        failures = self._crowd.connect(address, count, at_once or count, narrow=narrow)
        return {"seconds": time.perf_counter() - started, "failures": failures}

    def disconnect(self) -> dict[str, Any]:
        """See `Crowd`."""
        self._crowd.disconnect()
        return {}

    def publisher(
        self, kind: str, port: int, path: str, headers: dict[str, str], bare: bool, template: str
    ) -> dict[str, Any]:
        """Open the publisher, and learn from a first event how long a frame is."""
        address = Address(port, path, headers, bare)
        return {"frame_size": self._crowd.open_publisher(kind, address, template)}

    def closed_loop(self, seconds: float, in_flight: int) -> dict[str, Any]:
        """See `bench.loops`."""
        return loops.closed_loop(self._crowd, seconds, in_flight)

    def open_loop(self, seconds: float, rate: float) -> dict[str, Any]:
        """See `bench.loops`."""
        return loops.open_loop(self._crowd, seconds, rate)

    def ingest(self, seconds: float, in_flight: int) -> dict[str, Any]:
        """See `bench.loops`."""
        return loops.ingest(self._crowd, seconds, in_flight)

    def pour(self, count: int, in_flight: int) -> dict[str, Any]:
        """See `bench.loops`."""
        return loops.pour(self._crowd, count, in_flight)

    def stall(self, count: int, read_rate: float) -> dict[str, Any]:
        """See `bench.stalling`."""
        return stalling.stall(self._crowd, count, read_rate)

    def overflow(self, stop_after: int, patience: float) -> dict[str, Any]:
        """See `bench.stalling`."""
        return stalling.overflow(self._crowd, stop_after, patience)

    def resume(self, seconds: float) -> dict[str, Any]:
        """See `bench.stalling`."""
        return stalling.resume(self._crowd, seconds)

    def dismiss(self) -> dict[str, Any]:
        """See `bench.stalling`."""
        stalling.dismiss(self._crowd)
        return {}


_COMMANDS = (
    "closed_loop",
    "connect",
    "disconnect",
    "dismiss",
    "ingest",
    "open_loop",
    "overflow",
    "pour",
    "publisher",
    "resume",
    "stall",
)


def main() -> None:
    """Carry out commands from standard input until it ends."""
    load = Load()
    for line in _commands(load):
        command = json.loads(line)
        name = command.pop("do")
        try:
            if load.failure:
                raise load.failure
            if name not in _COMMANDS:
                raise LoadError(f"no such command: {name}")
            answer = {"ok": getattr(load, name)(**command)}
        except _FAILURES as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _commands(load: Load) -> Iterator[str]:
    """The lines of standard input; whoever waits for the next one attends to the server."""
    while True:
        poller = select.poll()
        poller.register(sys.stdin, select.POLLIN)
        for fd in load.filenos():
            poller.register(fd, select.POLLIN)
        if any(fd == sys.stdin.fileno() for fd, _ in poller.poll()):
            # One command at a time: the caller waits for each answer. Else a second line would
            # be in the buffer, where nobody looks.
            line = sys.stdin.readline()
            if not line:
                return
            yield line
        else:
            load.attend()


if __name__ == "__main__":
    main()
