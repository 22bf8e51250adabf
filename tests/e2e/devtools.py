"""A page in headless Chromium, over its DevTools protocol: what it loads, says and shows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from .browser import visiting
from .harness import CAP, wait_until

_OPTIONS = (
    # Names other than this machine's lead nowhere: a page that needs another host does not work.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


class Page:
    """One open tab.

    Args:
        socket: speaks the DevTools protocol with it.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        # All that it was told of by the browser, oldest first.
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **params: object) -> Any:
        """Tell the browser to do something; its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (message := json.loads(self._socket.recv(CAP))).get("id") != number:
            self._events.append(message)
        assert "error" not in message, message
        return message["result"]

    def open(self, url: str) -> None:
        """Go there."""
        assert "errorText" not in self.command("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        params = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self.command("Runtime.evaluate", **params)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str) -> Any:
        """Wait until an expression in the page is true; its value."""
        return wait_until(lambda: self.run(script), script)

    def requested(self) -> list[str]:
        """The addresses that it has asked for."""
        asked = (event for event in self._events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def complaints(self) -> list[dict[str, Any]]:
        """Errors and warnings: what it could not load, was not allowed, or failed at."""
        return [event for event in self._events if _is_complaint(event)]


def _is_complaint(event: dict[str, Any]) -> bool:
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
    """A browser with one empty page, gone at the end; skips the test where there is none.

    Args:
        profile: an empty directory for what the browser keeps.
    """
    with visiting("about:blank", profile, *_OPTIONS):
        port_file = profile / "DevToolsActivePort"
        wait_until(lambda: port_file.exists() and "\n" in port_file.read_text(), "started")
        port = int(port_file.read_text().split()[0])
        with connect(_page_address(port), max_size=None) as socket:
            yield Page(socket)


def _page_address(port: int) -> str:
    """Where the DevTools of the first page are."""
    http = HTTPConnection("127.0.0.1", port, timeout=CAP)
    try:
        return wait_until(lambda: next(_pages(http), ""), "there is a page")
    finally:
        http.close()


def _pages(http: HTTPConnection) -> Iterator[str]:
    http.request("GET", "/json/list")
    for target in json.loads(http.getresponse().read()):
        if target["type"] == "page":
            yield target["webSocketDebuggerUrl"]
