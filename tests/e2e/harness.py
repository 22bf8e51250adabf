"""What these tests stand on: a server as a process of its own, and the tools to talk to it.

Everything here waits on conditions; `CAP` only ends what would otherwise hang for ever.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

T = TypeVar("T")

# Far more than anything takes, on the slowest machine.
CAP = 60.0

HERE = Path(__file__).parent
RYZE = str(Path(sys.executable).with_name("ryze"))


def wait_until(condition: Callable[[], T], what: str) -> T:
    """Wait until `condition` is true, and return what it returned."""
    deadline = time.monotonic() + CAP
    while not (result := condition()):
        assert time.monotonic() < deadline, f"after {CAP:g} s still not: {what}"
        time.sleep(0.01)
    return result


def environ(**more: str) -> dict[str, str]:
    """Our environment, with `ryze` and `wscat` on the path and without settings of ours.

    Nor with Python's, which a user has not set: PYTHONUNBUFFERED hides missing flushes.
    """
    foreign = ("RYZE_", "PYTHON")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
    path = [str(Path(RYZE).parent), str(HERE / "node_modules/.bin"), os.environ["PATH"]]
    return kept | {"PATH": os.pathsep.join(path)} | more


def tool(name: str) -> str:
    """The path of a program that these tests need; without it the test is skipped, saying so."""
    found = shutil.which(name, path=environ()["PATH"])
    if found is None:
        pytest.skip(f"{name} is not installed (.ci/run installs it)")
    return found


def bash(script: str, **variables: str) -> str:
    """Run a script in a shell, as if pasted; its standard output."""
    done = subprocess.run(
        ["bash", "-c", script],
        env=environ(**variables),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=CAP,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Server:
    """A running ``ryze serve``.

    Args:
        data_dir: where its data is; may hold that of an earlier server.
        run_dir: an empty directory for what it writes.
        command: what it is started with, before its own command line.
        settings: by python name, e.g. ``drain_seconds=5``.
    """

    def __init__(
        self, data_dir: Path, run_dir: Path, *, command: Sequence[str] = (), **settings: object
    ) -> None:
        self.data_dir = data_dir
        self._stdout = run_dir / "stdout"
        self._stderr = run_dir / "stderr"
        # Every token that must not be found in the log.
        self.secrets: set[str] = set()
        defaults = {"port": 0, "data_dir": data_dir, "log_level": "debug", "log_format": "json"}
        variables = {f"RYZE_{k.upper()}": str(v) for k, v in (defaults | settings).items()}
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, RYZE, "serve"],
                env=environ(**variables),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        wait_until(lambda: "Ryze listens on" in self.output or self.process.poll(), "started")
        assert self.process.poll() is None, self.log
        self.url = self.output.partition("Ryze listens on ")[2].split()[0]
        self._http = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=CAP)
        self.account_token = str(settings.get("account_token", "")) or self._printed_token()
        self.secrets |= {self.account_token} - {""}

    @property
    def output(self) -> str:
        """What it has written to standard output so far."""
        return self._stdout.read_text()

    @property
    def log(self) -> str:
        """What it has written to standard error so far."""
        return self._stderr.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log records of that name, but not one that is half written."""
        lines = self.log.rpartition("\n")[0].splitlines()
        return [record for record in map(json.loads, lines) if record["event"] == event]

    def wait_connected(self, count: int) -> None:
        """Wait until so many WebSockets have been opened, those that are gone included."""
        wait_until(lambda: len(self.logged("connected")) >= count, f"{count} clients connected")

    def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request with the TokenAccount or another token; status and answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"token": token or self.account_token, "Content-Type": "application/json"}
        self._http.request(method, path, None if body is None else data, headers)
        response = self._http.getresponse()
        return response.status, json.loads(response.read())

    def request_text(self, path: str) -> str:
        """What stands there for who has no token."""
        self._http.request("GET", path)
        response = self._http.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text

    def create_instance(self, name: str, **websocket: object) -> str:
        """Create an instance; its token. Without more, its WebSocket is on, unfiltered."""
        block = {"websocketEnabled": True} | websocket
        status, answer = self.request("POST", "/api/instance/new", {"name": name} | block)
        assert status == 201, answer
        token = str(answer["instance"]["token"])
        self.secrets.add(token)
        return token

    def publish(self, instance: str, body: object) -> int:
        """Publish an event, or an array of them; the `clients` of the answer."""
        status, answer = self.request("POST", f"/api/events/publish/{instance}", body)
        assert status == 202, answer
        return int(answer["clients"])

    def hang_up(self) -> None:
        """Close the connection that requests are sent on; the next one opens another."""
        self._http.close()

    def terminate(self) -> None:
        """``kill -TERM``."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(CAP)

    def end(self) -> None:
        """Be sure that it is gone."""
        self._http.close()
        if self.process.poll() is None:
            self.kill()

    def _printed_token(self) -> str:
        """The TokenAccount that a first start shows, on a line of its own."""
        _, _, after = self.output.partition("shown this once:")
        return after.split()[0] if after else ""


StartServer = Callable[..., Server]


@contextmanager
def servers_in(folder: Path) -> Iterator[StartServer]:
    """Starts servers, by default on one data directory; at the end none has logged a token."""
    servers: list[Server] = []
    runs = count(1)

    def start(**settings: Any) -> Server:
        run_dir = folder / f"run-{next(runs)}"
        run_dir.mkdir()
        servers.append(Server(folder / "data", run_dir, **settings))
        return servers[-1]

    try:
        yield start
    finally:
        for server in servers:
            server.end()
    secrets = set[str]().union(*(server.secrets for server in servers))
    for server in servers:
        assert not [token for token in secrets if token in server.log], "a token in the log"
        assert "Traceback" not in server.log, server.log


def raw_data(document: str) -> str:
    """The value of the first member ``"data"``, exactly as it is written."""
    start = document.index('"data":') + len('"data":')
    start += len(document[start:]) - len(document[start:].lstrip())
    _, end = json.JSONDecoder().raw_decode(document, start)
    return document[start:end]
