"""A server in a process of its own, and helpers to run programs against it.

Everything waits for conditions; `TIMEOUT_SECONDS` only ends what would otherwise hang.
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

# Far more than any step takes on the slowest machine.
TIMEOUT_SECONDS = 60.0

E2E_FOLDER = Path(__file__).parent
RYZE = str(Path(sys.executable).with_name("ryze"))


def wait_until(condition: Callable[[], T], description: str) -> T:
    """Wait until `condition` returns a truthy value; that value."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline, f"after {TIMEOUT_SECONDS:g} s still not: {description}"
        time.sleep(0.01)
    return result


def clean_environ(**more: str) -> dict[str, str]:
    """Our environment with `ryze` and `wscat` on the path, without settings of Ryze or Python.

    PYTHONUNBUFFERED, for one, would hide missing flushes.
    """
    removed = ("RYZE_", "PYTHON")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(removed)}
    path = [str(Path(RYZE).parent), str(E2E_FOLDER / "node_modules/.bin"), os.environ["PATH"]]
    return kept | {"PATH": os.pathsep.join(path)} | more


def require_tool(name: str) -> str:
    """The path of a program; skips the test if it is not installed."""
    found = shutil.which(name, path=clean_environ()["PATH"])
    if found is None:
        pytest.skip(f"{name} is not installed (.ci/run installs it)")
    return found


def run_bash(script: str, **variables: str) -> str:
    """Run a script in bash; its standard output."""
    done = subprocess.run(
        ["bash", "-c", script],
        env=clean_environ(**variables),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Server:
    """A running ``ryze serve``.

    Args:
        data_dir: its data directory; may hold the data of an earlier server.
        run_dir: an empty directory for its output.
        command: prefix of the command line, e.g. ``prlimit``.
        settings: by Python name, e.g. ``drain_seconds=5``.
    """

    def __init__(
        self, data_dir: Path, run_dir: Path, *, command: Sequence[str] = (), **settings: object
    ) -> None:
        self.data_dir = data_dir
        self._stdout = run_dir / "stdout"
        self._stderr = run_dir / "stderr"
        # Tokens that must not appear in the log.
        self.secrets: set[str] = set()
        defaults = {"port": 0, "data_dir": data_dir, "log_level": "debug", "log_format": "json"}
        variables = {f"RYZE_{k.upper()}": str(v) for k, v in (defaults | settings).items()}
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, RYZE, "serve"],
                env=clean_environ(**variables),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        wait_until(
            lambda: "Ryze listens on" in self.output or self.process.poll(),
            "the server has started",
        )
        assert self.process.poll() is None, self.log
        self.url = self.output.partition("Ryze listens on ")[2].split()[0]
        self._http = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_SECONDS)
        self.account_token = str(settings.get("account_token", "")) or self._printed_token()
        self.secrets |= {self.account_token} - {""}

    @property
    def output(self) -> str:
        """Standard output so far."""
        return self._stdout.read_text()

    @property
    def log(self) -> str:
        """Standard error so far: the log."""
        return self._stderr.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The complete log records of this event."""
        lines = self.log.rpartition("\n")[0].splitlines()
        return [record for record in map(json.loads, lines) if record["event"] == event]

    def wait_connected(self, count: int) -> None:
        """Wait until `count` WebSockets have been opened, closed ones included."""
        wait_until(lambda: len(self.logged("connected")) >= count, f"{count} clients connected")

    def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request with the TokenAccount or `token`; status and JSON body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"token": token or self.account_token, "Content-Type": "application/json"}
        self._http.request(method, path, None if body is None else data, headers)
        response = self._http.getresponse()
        return response.status, json.loads(response.read())

    def request_text(self, path: str) -> str:
        """GET without a token; the body of a 200."""
        self._http.request("GET", path)
        response = self._http.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text

    def create_instance(self, name: str, **websocket: object) -> str:
        """Create an instance, by default with its WebSocket enabled and unfiltered; its token."""
        block = {"websocketEnabled": True} | websocket
        status, response = self.request("POST", "/api/instance/new", {"name": name} | block)
        assert status == 201, response
        token = str(response["instance"]["token"])
        self.secrets.add(token)
        return token

    def publish(self, instance: str, body: object) -> int:
        """Publish an event or an array; `clients` from the response."""
        status, response = self.request("POST", f"/api/events/publish/{instance}", body)
        assert status == 202, response
        return int(response["clients"])

    def close_http_connection(self) -> None:
        """Close the connection for requests; the next request opens a new one."""
        self._http.close()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait(TIMEOUT_SECONDS)

    def close(self) -> None:
        """Kill it if it is still running."""
        self._http.close()
        if self.process.poll() is None:
            self.kill()

    def _printed_token(self) -> str:
        """The TokenAccount printed by a first start; '' by a later one."""
        _, _, after = self.output.partition("shown this once:")
        return after.split()[0] if after else ""


StartServer = Callable[..., Server]


@contextmanager
def running_servers(folder: Path) -> Iterator[StartServer]:
    """Start servers, on one data directory; at the end check that no log has a token."""
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
            server.close()
    secrets = set[str]().union(*(server.secrets for server in servers))
    for server in servers:
        assert not [token for token in secrets if token in server.log], "a token is in the log"
        assert "Traceback" not in server.log, server.log


def raw_data(document: str) -> str:
    """The value of the first member ``"data"``, character by character."""
    start = document.index('"data":') + len('"data":')
    start += len(document[start:]) - len(document[start:].lstrip())
    _, end = json.JSONDecoder().raw_decode(document, start)
    return document[start:end]
