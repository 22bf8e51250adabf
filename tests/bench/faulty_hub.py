"""A hub that does the bench's job but for one fault: `python -m tests.bench.faulty_hub PORT FAULT`.

The fault concerns one event (`CULPRIT`) on its way to the one subscriber of `/faulty`. A broken
promise that the load generator does not see would be a wrong figure.
"""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from bench.peers import Peer

CLIENTS = 4

# Not in the first batch, which teaches the load generator what a frame is.
CULPRIT = 20

# From the publisher: what it has sent last goes out once more.
AGAIN = "again"

# What a subscriber gets in place of the event.
_ALTERED: dict[str, Callable[[str], list[str]]] = {
    "lost": lambda event: [],
    "doubled": lambda event: [event, event],
    "of another instance": lambda event: [event.replace("gateway.example", "gateway.exampel")],
    "no JSON": lambda event: [event[:-1] + "]"],
    "another number": lambda event: [event.replace(f"{CULPRIT:010d}", f"{CULPRIT + 1:010d}")],
    "too short": lambda event: [event.replace("x", "", 1)],
    "too long": lambda event: [event.replace("x", "xx", 1)],
}
FAULTS = ("none", *_ALTERED, "closed", "pinged")


class FaultyHub(Peer):
    """See above."""

    title = "a hub with a fault"

    def __init__(self, fault: str) -> None:
        self.name = f"hub-{fault}"
        self._fault = fault

    def command(self, port: int, scratch: Path) -> list[str]:
        return [sys.executable, "-m", "tests.bench.faulty_hub", str(port), self._fault]


class _Hub:
    def __init__(self, fault: str) -> None:
        self._fault = fault
        # With the path of each.
        self._subscribers: dict[ServerConnection, str] = {}
        # Each connection has a thread: the publisher's must not be ahead of a subscriber's.
        self._everybody = threading.Barrier(CLIENTS + 1)

    def serve_one(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        if request.path != "/publish":
            self._subscribers[connection] = request.path
            self._everybody.wait()
            for _ in connection:
                pass
            return
        self._everybody.wait()
        event = ""
        for number, message in enumerate(connection):
            assert isinstance(message, str)
            event = event if message == AGAIN else message
            self._broadcast(number, event)

    def _broadcast(self, number: int, event: str) -> None:
        for subscriber, path in self._subscribers.items():
            concerned = number == CULPRIT and path == "/faulty"
            if concerned and self._fault == "pinged":
                subscriber.ping().wait()
                print("ponged", flush=True)
            if concerned and self._fault == "closed":
                # In a thread, as it waits for the answer.
                threading.Thread(target=subscriber.close, args=(1013,)).start()
            altered = _ALTERED.get(self._fault) if concerned else None
            for text in altered(event) if altered else [event]:
                with suppress(ConnectionClosed):
                    subscriber.send(text)


def _run(port: int, fault: str) -> None:
    server: Server = serve(_Hub(fault).serve_one, "127.0.0.1", port, compression=None)
    server.serve_forever()


if __name__ == "__main__":
    _run(int(sys.argv[1]), sys.argv[2])
