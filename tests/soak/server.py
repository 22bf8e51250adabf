"""The server's process from outside: start, requests, what it takes of the machine, its log."""

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

from tests.clients import UPGRADE, Answer, RawClient
from tests.soak.violations import PATIENCE_SECONDS, until

__all__ = ["ACCOUNT_TOKEN", "CLOSE_GRACE_SECONDS", "Server", "ask", "running"]

ACCOUNT_TOKEN = "soak-account-token"
CLOSE_GRACE_SECONDS = 2

_SETTINGS = {
    "RYZE_PORT": "0",
    "RYZE_ACCOUNT_TOKEN": ACCOUNT_TOKEN,
    # They count, but refuse nobody: all of this comes from one address.
    "RYZE_GLOBAL_RATE_LIMIT": "100000000/minute",
    "RYZE_CREATE_RATE_LIMIT": "100000000/minute",
    "RYZE_PUBLISH_RATE_LIMIT": "100000000/minute",
    "RYZE_CLOSE_GRACE_SECONDS": str(CLOSE_GRACE_SECONDS),
    "RYZE_COMPRESSION": "on",
    # Pings between the events, many of them.
    "RYZE_PING_INTERVAL_SECONDS": "3",
    "RYZE_LOG_FORMAT": "json",
    "RYZE_LOG_LEVEL": "info",
}

# What a server may warn of here: the soak itself sends a block that is ignored.
_EXPECTED_WARNINGS = frozenset({"websocket block ignored"})

# Segments and windows of a network: within a machine the two ends would buffer megabytes.
_NETWORK_SEGMENT = 1448
_NETWORK_BUFFER = 4096


class Server:
    """A ``ryze serve`` that runs."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.log = log
        self._psutil = psutil.Process(process.pid)

    # Connections

    async def open(self, *, narrow: bool = False) -> RawClient:
        """A connection on which nothing has been sent; `narrow` buffers next to nothing."""
        sock = trio.socket.socket()
        if narrow:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _NETWORK_SEGMENT)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NETWORK_BUFFER)
        try:
            await sock.connect(("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        return RawClient(trio.SocketStream(sock))

    async def upgrade(
        self, path: str, token: str, *, narrow: bool = False, deflate: bool = False
    ) -> tuple[RawClient, Answer]:
        """Ask for a WebSocket; the connection, and what was answered."""
        headers = {**UPGRADE, "token": token}
        if deflate:
            headers["Sec-WebSocket-Extensions"] = "permessage-deflate"
        client = await self.open(narrow=narrow)
        try:
            return client, await client.request("GET", path, headers)
        except BaseException:
            await trio.aclose_forcefully(client.stream)
            raise

    async def request(
        self, method: str, path: str, body: object = None, *, token: str = ACCOUNT_TOKEN
    ) -> Answer:
        """One request, on a connection of its own."""
        client = await self.open()
        async with client.stream:
            return await ask(client, method, path, body, token=token)

    # What it takes

    def memory(self) -> int:
        """Bytes of resident memory."""
        return int(self._psutil.memory_info().rss)

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        times = self._psutil.cpu_times()
        return float(times.user + times.system)

    def descriptors(self) -> Counter[str]:
        """Open files and sockets, by what they stand for; those of one kind together.

        Without the database's own, of which SQLite keeps up to one for each reader and writer
        once they have been at work at the same time: it closes none while the file is locked.
        """
        folder = Path(f"/proc/{self.process.pid}/fd")
        kinds: Counter[str] = Counter()
        for each in folder.iterdir():
            # One that is closed just now is none any more.
            with suppress(FileNotFoundError):
                kinds[os.readlink(each).partition(":[")[0]] += 1
        return Counter({kind: kinds[kind] for kind in kinds if not kind.endswith(".db")})

    # Its end

    async def terminate(self) -> int | None:
        """``kill -TERM``; its exit code, None if it does not end."""
        self.process.send_signal(signal.SIGTERM)
        await until(lambda: self.process.poll() is not None)
        return self.process.poll()

    def unexpected_log(self) -> Iterator[str]:
        """What it should not have written: warnings, tracebacks, anything that is no record."""
        for line in self.log.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                yield line
                continue
            if record["level"] != "info" and record["event"] not in _EXPECTED_WARNINGS:
                yield line

    def logged(self) -> Counter[str]:
        """How often it has logged each event."""
        records: list[dict[str, Any]] = [
            json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")
        ]
        return Counter(str(record["event"]) for record in records)


async def ask(
    client: RawClient, method: str, path: str, body: object = None, *, token: str
) -> Answer:
    """One request with a token and a JSON body."""
    headers = {"token": token}
    if body is None:
        return await client.request(method, path, headers)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.request(method, path, {**headers, "Content-Type": "application/json"}, data)


@contextmanager
def running(directory: Path, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server with its data in `directory`; in the end it is gone."""
    output, log = directory / "stdout", directory / "log"
    foreign = {name: text for name, text in os.environ.items() if not name.startswith("RYZE_")}
    with output.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "ryze", "serve", "--data-dir", str(directory / "data")],
            env={**foreign, **_SETTINGS, **(more or {})},
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
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        _, said, address = output.read_text().partition("Ryze listens on ")
        if said and "\n" in address:
            return address.split()[0]
        time.sleep(0.05)
    raise RuntimeError(f"the server does not start: {log.read_text()}")
