"""Sampler of a server's resident memory and of its connections to slow clients, over time."""

import threading
import time
from contextlib import suppress
from typing import NamedTuple, Self

import psutil

from bench.server_process import ServerProcess
from bench.socket_queues import count_bytes_taken

__all__ = ["Sample", "ServerSampler"]

_INTERVAL_SECONDS = 0.05


class Sample(NamedTuple):
    """Memory and connections at one moment."""

    # On the clock of ``time.perf_counter``.
    at: float
    # Resident, in bytes.
    memory: int
    # Connections of `ServerSampler.ports` that the server has not closed.
    connected: int


class ServerSampler:
    """Context manager that takes a sample every 50 ms, in a thread."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        # The slow clients' ports, set by the measuring thread; empty while there are none.
        self.ports: list[int] = []
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_SECONDS):
            with suppress(psutil.Error, OSError):
                self.samples.append(self._take_sample())

    def _take_sample(self) -> Sample:
        ports = self.ports
        connected = count_bytes_taken(self._server.port, ports, dict.fromkeys(ports, 0))
        return Sample(time.perf_counter(), self._server.resident_bytes(), len(connected))
