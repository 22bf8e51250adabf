"""A real browser without a window, and a web site for it to visit."""

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .harness import CAP, environ, tool

__all__ = ["Site", "visiting"]

# It must not look for updates and the like: what it talks to is ours.
_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Site:
    """A web site with one page, on an origin of its own.

    Args:
        page: the file that it serves, whatever is asked for.
    """

    def __init__(self, page: Path) -> None:
        results: queue.Queue[Any] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(page.read_bytes())

            def do_POST(self) -> None:
                results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._results = results
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._http.server_port}"

    def address(self, **parameters: str) -> str:
        """Of the page, told something that no server sees."""
        return f"{self.origin}/#{quote(json.dumps(parameters))}"

    def result(self) -> Any:
        """What the page has sent home."""
        return self._results.get(timeout=CAP)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def visiting(address: str, profile: Path, *more_options: str) -> Iterator[None]:
    """While inside, a browser shows the page.

    Args:
        address: of the page.
        profile: an empty directory for what the browser keeps.
        more_options: besides the usual ones.
    """
    command = [tool("chromium"), *_OPTIONS, *more_options, f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        # It refuses to run its sandbox as root.
        command.append("--no-sandbox")
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, address],
            env=environ(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        # With all of its children, of which it has many.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(CAP)
