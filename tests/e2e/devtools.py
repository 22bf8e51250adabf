"""A page in headless Chromium, controlled over the DevTools protocol."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from .browser import open_browser
from .harness import TIMEOUT_SECONDS, wait_until

_OPTIONS = (
    # Every name except 127.0.0.1 fails to resolve: a page that needs another host does not work.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


class Page:
    """One open tab.

    Args:
        socket: connection for the DevTools protocol.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        # Events reported by the browser, oldest first.
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **params: object) -> Any:
        """Send a command to the browser; its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (message := json.loads(self._socket.recv(TIMEOUT_SECONDS))).get("id") != number:
            self._events.append(message)
        assert "error" not in message, message
        return message["result"]

    def open(self, url: str) -> None:
        """Navigate to `url`."""
        assert "errorText" not in self.command("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page."""
        params = {"expression": script, "returnByValue": True, "awaitPromise": True}
        result = self.command("Runtime.evaluate", **params)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str) -> Any:
        """Wait until an expression in the page is truthy; its value."""
        return wait_until(lambda: self.run(script), script)

    def requested_urls(self) -> list[str]:
        """The URLs that the page has requested."""
        sent = (event for event in self._events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def errors(self) -> list[dict[str, Any]]:
        """Errors and warnings of the page: exceptions, failed loads, console messages."""
        return [event for event in self._events if _is_error(event)]


def _is_error(event: dict[str, Any]) -> bool:
    match event:
        case {"method": "Runtime.exceptionThrown"}:
            return True
        case {"method": "Log.entryAdded", "params": {"entry": {"level": level}}}:
            return level in ("error", "warning")
        case {"method": "Runtime.consoleAPICalled", "params": {"type": kind}}:
            return kind in ("error", "warning", "assert")
    return False


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """Run a browser with one empty page; skips the test if Chromium is not installed.

    Args:
        profile: an empty directory for the files of the browser.
    """
    with open_browser("about:blank", profile, *_OPTIONS):
        port_file = profile / "DevToolsActivePort"
        wait_until(
            lambda: port_file.exists() and "\n" in port_file.read_text(), "Chromium has started"
        )
        port = int(port_file.read_text().split()[0])
        with connect(_devtools_url(port), max_size=None) as socket:
            yield Page(socket)


def _devtools_url(port: int) -> str:
    """DevTools URL of the first page."""
    http = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        return wait_until(lambda: next(_pages(http), ""), "Chromium has opened a page")
    finally:
        http.close()


def _pages(http: HTTPConnection) -> Iterator[str]:
    http.request("GET", "/json/list")
    for target in json.loads(http.getresponse().read()):
        if target["type"] == "page":
            yield target["webSocketDebuggerUrl"]
