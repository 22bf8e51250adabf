"""A hub with one fault, for the load generator: `python -m tests.bench.faulty_hub PORT FAULT`.

The fault concerns one event (`FAULTY_EVENT`) on its way to the one subscriber of `/faulty`. A load
generator that overlooked it would report a wrong figure.
"""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from bench.peers import Peer

SUBSCRIBERS = 4

# Not in the first batch, from which the load generator learns the size of a frame.
FAULTY_EVENT = 20

# Sent by the producer: broadcast the last event once more.
REPEAT = "repeat"

# Per fault, what the subscriber gets in place of the event.
_ALTERED: dict[str, Callable[[str], list[str]]] = {
    "lost": lambda event: [],
    "duplicated": lambda event: [event, event],
    "of another instance": lambda event: [event.replace("gateway.example", "gateway.exampel")],
    "not JSON": lambda event: [event[:-1] + "]"],
    "wrong number": lambda event: [
        event.replace(f"{FAULTY_EVENT:010d}", f"{FAULTY_EVENT + 1:010d}")
    ],
    "too short": lambda event: [event.replace("x", "", 1)],
    "too long": lambda event: [event.replace("x", "xx", 1)],
}
FAULTS = ("none", *_ALTERED, "closed", "pinged")


class FaultyHub(Peer):
    """The program in this file, as a peer of the bench."""

    title = "hub with a fault"

    def __init__(self, fault: str) -> None:
        self.name = f"hub-{fault}"
        self._fault = fault

    def command(self, port: int, scratch: Path) -> list[str]:
        return [sys.executable, "-m", "tests.bench.faulty_hub", str(port), self._fault]


class _Hub:
    def __init__(self, fault: str) -> None:
        self._fault = fault
        # Subscribers, with the path of each.
        self._subscribers: dict[ServerConnection, str] = {}
        # Each connection has a thread; the producer's must wait until all have subscribed.
        self._all_connected = threading.Barrier(SUBSCRIBERS + 1)

    def serve_connection(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        if request.path != "/publish":
            self._subscribers[connection] = request.path
            self._all_connected.wait()
            for _ in connection:
                pass
            return
        self._all_connected.wait()
        event = ""
        for number, message in enumerate(connection):
            assert isinstance(message, str)
            event = event if message == REPEAT else message
            self._broadcast(number, event)

    def _broadcast(self, number: int, event: str) -> None:
        for subscriber, path in self._subscribers.items():
            is_faulty = number == FAULTY_EVENT and path == "/faulty"
            if is_faulty and self._fault == "pinged":
                subscriber.ping().wait()
                print("got pong", flush=True)
            if is_faulty and self._fault == "closed":
                # In a thread, because it waits for the client's close frame.
                threading.Thread(target=subscriber.close, args=(1013,)).start()
            altered = _ALTERED.get(self._fault) if is_faulty else None
            for text in altered(event) if altered else [event]:
                with suppress(ConnectionClosed):
                    subscriber.send(text)


def _run(port: int, fault: str) -> None:
    server: Server = serve(_Hub(fault).serve_connection, "127.0.0.1", port, compression=None)
    server.serve_forever()


if __name__ == "__main__":
    _run(int(sys.argv[1]), sys.argv[2])
