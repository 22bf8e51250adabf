"""The server process: start, requests, memory and descriptors, log, end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import trio

from tests.clients import UPGRADE, RawClient, Response
from tests.soak.violations import TIMEOUT_SECONDS, wait_until

__all__ = ["ACCOUNT_TOKEN", "CLOSE_GRACE_SECONDS", "Server", "running_server", "send_request"]

ACCOUNT_TOKEN = "soak-account-token"
CLOSE_GRACE_SECONDS = 2

_SETTINGS = {
    "RYZE_PORT": "0",
    "RYZE_ACCOUNT_TOKEN": ACCOUNT_TOKEN,
    # Counted, but never exceeded: all clients share one address.
    "RYZE_GLOBAL_RATE_LIMIT": "100000000/minute",
    "RYZE_CREATE_RATE_LIMIT": "100000000/minute",
    "RYZE_PUBLISH_RATE_LIMIT": "100000000/minute",
    "RYZE_CLOSE_GRACE_SECONDS": str(CLOSE_GRACE_SECONDS),
    "RYZE_COMPRESSION": "on",
    # Short, so that many pings come between the events.
    "RYZE_PING_INTERVAL_SECONDS": "3",
    "RYZE_LOG_FORMAT": "json",
    "RYZE_LOG_LEVEL": "info",
}

# Warnings that the soak itself causes: one bad input has a block that is ignored.
_EXPECTED_WARNINGS = frozenset({"websocket block ignored"})

# Segment size and receive buffer as over a network: on loopback both ends would buffer megabytes.
_NETWORK_SEGMENT = 1448
_NETWORK_BUFFER = 4096


class Server:
    """A running ``ryze serve``."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.log = log
        self._psutil = psutil.Process(process.pid)

    # Connections

    async def open(self, *, small_buffers: bool = False) -> RawClient:
        """Open a connection; with `small_buffers` the kernel keeps only a few KiB of it."""
        sock = trio.socket.socket()
        if small_buffers:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _NETWORK_SEGMENT)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NETWORK_BUFFER)
        try:
            await sock.connect(("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        return RawClient(trio.SocketStream(sock))

    async def upgrade(
        self, path: str, token: str, *, small_buffers: bool = False, deflate: bool = False
    ) -> tuple[RawClient, Response]:
        """Request a WebSocket; the connection and the response."""
        headers = {**UPGRADE, "token": token}
        if deflate:
            headers["Sec-WebSocket-Extensions"] = "permessage-deflate"
        client = await self.open(small_buffers=small_buffers)
        try:
            return client, await client.request("GET", path, headers)
        except BaseException:
            await trio.aclose_forcefully(client.stream)
            raise

    async def request(
        self, method: str, path: str, body: object = None, *, token: str = ACCOUNT_TOKEN
    ) -> Response:
        """Send one request on a new connection."""
        client = await self.open()
        async with client.stream:
            return await send_request(client, method, path, body, token=token)

    # Resources

    def memory(self) -> int:
        """Resident memory in bytes."""
        return int(self._psutil.memory_info().rss)

    def cpu_seconds(self) -> float:
        """User and system CPU time so far."""
        times = self._psutil.cpu_times()
        return float(times.user + times.system)

    def descriptors(self) -> Counter[str]:
        """Open descriptors, counted by kind (file path, socket, pipe...).

        Without those of the database: SQLite keeps up to one per reader and writer once they have
        been active at the same time, as it closes none while the file is locked.
        """
        folder = Path(f"/proc/{self.process.pid}/fd")
        kinds: Counter[str] = Counter()
        for each in folder.iterdir():
            # It may be closed between listing and reading.
            with suppress(FileNotFoundError):
                kinds[os.readlink(each).partition(":[")[0]] += 1
        return Counter({kind: kinds[kind] for kind in kinds if not kind.endswith(".db")})

    # End

    async def terminate(self) -> int | None:
        """Send SIGTERM and wait; the exit code, None if it does not exit."""
        self.process.send_signal(signal.SIGTERM)
        await wait_until(lambda: self.process.poll() is not None)
        return self.process.poll()

    def unexpected_log(self) -> Iterator[str]:
        """Log lines that are violations: warnings, tracebacks, lines that are not JSON."""
        for line in self.log.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                yield line
                continue
            if record["level"] != "info" and record["event"] not in _EXPECTED_WARNINGS:
                yield line

    def logged(self) -> Counter[str]:
        """The number of log records, by event."""
        records: list[dict[str, Any]] = [
            json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")
        ]
        return Counter(str(record["event"]) for record in records)


async def send_request(
    client: RawClient, method: str, path: str, body: object = None, *, token: str
) -> Response:
    """Send a request with a token and a JSON body."""
    headers = {"token": token}
    if body is None:
        return await client.request(method, path, headers)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.request(method, path, {**headers, "Content-Type": "application/json"}, data)


@contextmanager
def running_server(directory: Path, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server with its data in `directory`; kill it at the end."""
    output, log = directory / "stdout", directory / "log"
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("RYZE_")}
    with output.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "ryze", "serve", "--data-dir", str(directory / "data")],
            env={**inherited, **_SETTINGS, **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        yield Server(process, _address(process, output, log), log)
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], output: Path, log: Path) -> str:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        _, printed, address = output.read_text().partition("Ryze listens on ")
        if printed and "\n" in address:
            return address.split()[0]
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text()}")
