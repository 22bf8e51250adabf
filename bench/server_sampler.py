"""A server's memory and its slow clients' connections, over time."""

import threading
import time
from contextlib import suppress
from typing import NamedTuple, Self

import psutil

from bench.server_process import Server
from bench.socket_queues import bytes_taken

__all__ = ["Look", "Watch"]

_INTERVAL_SECONDS = 0.05


class Look(NamedTuple):
    """What was seen at one moment."""

    # On the clock of ``time.perf_counter``.
    at: float
    memory: int
    # Of the connections in `Watch.ports`: those that the server has not closed.
    connected: int


class Watch:
    """Looks every 50 ms, as long as one is inside, whatever is measured meanwhile."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        # The slow clients' ports; empty while there are none.
        self.ports: list[int] = []
        self.looks: list[Look] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_SECONDS):
            ports = self.ports
            with suppress(psutil.Error, OSError):
                connected = len(bytes_taken(self._server.port, ports, dict.fromkeys(ports, 0)))
                self.looks.append(Look(time.perf_counter(), self._server.memory(), connected))
