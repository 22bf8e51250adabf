"""What every question needs: servers and load generators as processes, and the command line.

A `Trouble` is anything that keeps one measurement from being made and that a person can put
right: a peer that is not installed, a port in use, too few file descriptors. It is told in one
line, and the rest of the run goes on.
"""

import json
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.peers import PEERS, Peer, PeerError

__all__ = [
    "LoadGenerator",
    "MemoryWatch",
    "Options",
    "Server",
    "Trouble",
    "available",
    "common_options",
    "load_generator",
    "machine",
    "notes",
    "options",
    "progress",
    "raise_file_limit",
    "running",
    "subscribed",
    "tell",
]

Command = TypeVar("Command", bound=Callable[..., Any])

_ROOT = Path(__file__).parent.parent
_START_SECONDS = 30
_STOP_SECONDS = 15
# Descriptors of a process that are no connections.
_SPARE_FILES = 100

# Rows go to standard output, everything else here.
notes = Console(stderr=True)


class Trouble(Exception):
    """One measurement cannot be made; the message is one line that says what to do."""


def tell(text: str) -> None:
    """Tell the person in front of it, in one line."""
    notes.print(text, style="yellow", markup=False, soft_wrap=True)


# The command line


@dataclass(frozen=True)
class Options:
    """What all questions have in common; see `common_options`."""

    peers: list[str]
    rounds: int
    seconds: float
    port: int
    output: Path


def common_options(*, peers: str, rounds: int, seconds: float) -> Callable[[Command], Command]:
    """The options of every question, with its own defaults."""
    rows = [
        click.option("--peers", default=peers, show_default=True, help="Names, or 'all'."),
        click.option("--rounds", default=rounds, show_default=True, help="Medians are of these."),
        click.option("--seconds", default=seconds, show_default=True, help="A measurement."),
        click.option("--port", default=0, help="Servers listen here; 0: on any free port."),
        click.option(
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("build/bench"),
            show_default=True,
            help="Where JSON and plots go.",
        ),
        click.option("--short", is_flag=True, help="Two rounds of a second: does it all work?"),
    ]

    def decorate(command: Command) -> Command:
        for row in reversed(rows):
            command = row(command)
        return command

    return decorate


def options(
    peers: str, rounds: int, seconds: float, port: int, output: Path, short: bool
) -> Options:
    """Make sense of what `common_options` has read."""
    names = list(PEERS) if peers == "all" else [name for name in peers.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise click.UsageError(f"no such peer: {unknown[0]} (there are: {', '.join(PEERS)})")
    if short:
        rounds, seconds = min(rounds, 2), min(seconds, 1.0)
    return Options(names, rounds, seconds, port, output)


def available(names: Sequence[str]) -> list[Peer]:
    """Those of the peers that can be started here; the others are told of, by name."""
    found = []
    for name in names:
        if reason := PEERS[name].is_available():
            tell(f"skipped {name}: {reason}")
        else:
            found.append(PEERS[name])
    return found


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; call what it gives at the beginning of each, with its name."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=notes, transient=True) as bar:
        task = bar.add_task(title, total=total + 1, completed=0)

        def step(name: str) -> None:
            bar.update(task, advance=1, description=f"{title}: {name}")

        yield step


# The machine


def machine() -> dict[str, Any]:
    """What was measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average_at_start": os.getloadavg()[0],
    }


def _cpu_model() -> str:
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def raise_file_limit(connections: int) -> None:
    """Let this process and its children open so many connections.

    Raises:
        Trouble: the system does not let us.
    """
    wanted = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Trouble(
            f"{connections} connections need {wanted} file descriptors, the limit is {hard}:"
            f" raise it (ulimit -Hn {wanted}) or take fewer"
        )
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# Servers


class Server:
    """A server that runs and accepts connections."""

    def __init__(self, peer: Peer, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.peer = peer
        self.port = port
        self.log = log
        self._process = process

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """User and system time that it has taken so far, all its processes together."""
        times = [process.cpu_times() for process in self._processes()]
        return float(sum(each.user + each.system for each in times))

    def memory(self) -> int:
        """Bytes of resident memory."""
        return sum(process.memory_info().rss for process in self._processes())

    def drops(self) -> dict[int, int]:
        """Of the clients that it says it has dropped: port -> events published by then."""
        lines = [line.split() for line in self.log.read_text(errors="replace").splitlines()]
        return {int(words[2]): int(words[1]) for words in lines if words[:1] == ["dropped"]}

    @property
    def pid(self) -> int:
        """Of its first process."""
        return self._process.pid


@contextmanager
def running(peer: Peer, port: int = 0) -> Iterator[Server]:
    """Start a server, and stop it in the end.

    Raises:
        Trouble: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="ryze-bench-") as directory:
        scratch = Path(directory)
        port = _checked_port(port)
        try:
            command = peer.command(port, scratch)
        except PeerError as error:
            raise Trouble(f"{peer.name}: {error}") from error
        log = scratch / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **peer.environment},
                cwd=_ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(peer, port, process, log)
        try:
            _wait_until_it_accepts(server, process)
            peer.prepare(port)
            yield server
        finally:
            _stop(process)


def _checked_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Trouble(f"port {port}: {error.strerror}; choose another with --port") from error
        return int(probe.getsockname()[1])


def _wait_until_it_accepts(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            words = server.log.read_text(errors="replace").strip().splitlines()
            raise Trouble(f"{server.peer.name} does not start: {words[-1] if words else '?'}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.05)
    raise Trouble(f"{server.peer.name} does not accept connections on port {server.port}")


def _stop(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class MemoryWatch(threading.Thread):
    """Notes a server's memory every 50 ms, from `start` until `stop`."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._stopping = threading.Event()
        # (time, bytes), on the clock of ``time.perf_counter``.
        self.samples: list[tuple[float, int]] = []

    def run(self) -> None:
        """See `threading.Thread`."""
        while not self._stopping.wait(0.05):
            with suppress(psutil.Error):
                self.samples.append((time.perf_counter(), self._server.memory()))

    def stop(self) -> list[tuple[float, int]]:
        """End it; what it has noted."""
        self._stopping.set()
        self.join()
        return self.samples


# Load


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

    def connect(self, count: int, *, at_once: int = 64, strict: bool = True) -> dict[str, Any]:
        """Open subscribers; with `strict`, all of them must come up."""
        done = self.call("connect", count=count, at_once=at_once, **self._address("subscribe_path"))
        if strict and done["failures"]:
            raise Trouble(f"{self._server.peer.name}: not all connect: {done['failures']}")
        return done

    def open_publisher(self, event_bytes: int) -> dict[str, Any]:
        """Open the publisher, for events of this size."""
        peer = self._server.peer
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
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield LoadGenerator(server, process)
    finally:
        _stop(process)


@contextmanager
def subscribed(
    peer: Peer, clients: int, event_bytes: int, port: int = 0
) -> Iterator[tuple[Server, LoadGenerator]]:
    """A fresh server with so many subscribers and a publisher.

    Raises:
        Trouble: any of that cannot be had.
    """
    raise_file_limit(clients)
    with running(peer, port) as server, load_generator(server) as load:
        load.connect(clients)
        load.open_publisher(event_bytes)
        yield server, load
