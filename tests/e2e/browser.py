"""A headless Chromium, and a web site for it to open."""

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

from .harness import TIMEOUT_SECONDS, clean_environ, require_tool

__all__ = ["Site", "open_browser"]

# No updates or other background traffic: it connects to the servers of the test only.
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
        page: the file that it serves at every path.
    """

    def __init__(self, page: Path) -> None:
        results: queue.Queue[Any] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._respond(page.read_bytes())

            def do_POST(self) -> None:
                results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._respond(b"")

            def _respond(self, body: bytes) -> None:
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

    def url(self, **parameters: str) -> str:
        """URL of the page, with parameters in the fragment, which no server sees."""
        return f"{self.origin}/#{quote(json.dumps(parameters))}"

    def result(self) -> Any:
        """Wait for the result that the page posts to its site."""
        return self._results.get(timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def open_browser(url: str, profile: Path, *options: str) -> Iterator[None]:
    """Run a browser that shows a page, until the end of the block.

    Args:
        url: of the page.
        profile: an empty directory for the files of the browser.
        options: command line options, besides the common ones.
    """
    command = [require_tool("chromium"), *_OPTIONS, *options, f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        # Chromium refuses to run its sandbox as root.
        command.append("--no-sandbox")
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, url],
            env=clean_environ(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        # The whole process group: Chromium has many children.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT_SECONDS)
