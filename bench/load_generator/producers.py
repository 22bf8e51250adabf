"""The one who publishes: over a WebSocket, a text frame an event, or by HTTP, an array or a stream.

All have the same face: `publish` writes all events in one ``send``; `receive` reads what the
server says to that; `is_waiting` is true until it has said what must be waited for.
"""

import json
import socket
from collections.abc import Callable
from typing import Protocol

from bench.load_generator.subscribers import PATIENCE_SECONDS, Address, open_websockets
from bench.websocket_client import CLOSE, PING, PONG, HandshakeError, client_frame, parse_frames

__all__ = [
    "HttpPublisher",
    "Producer",
    "StreamPublisher",
    "WebsocketPublisher",
    "open_publisher",
]

_CHUNK_BYTES = 65536


class Producer(Protocol):
    """See above."""

    socket: socket.socket
    is_waiting: bool
    # How many clients got the last event; None where the server does not say.
    clients: int | None

    def publish(self, events: list[bytes]) -> None:
        """Write all of them in one piece."""

    def fence(self) -> None:
        """Wait, by `is_waiting`, until the server has taken all that was published."""

    def receive(self) -> None:
        """Read once."""


class WebsocketPublisher:
    """One text frame an event."""

    def __init__(self, address: Address) -> None:
        sockets: list[socket.socket] = []
        failures = open_websockets(address, 1, 1, lambda sock, early: sockets.append(sock))
        if failures:
            raise HandshakeError(f"publisher on {address.path}: {next(iter(failures))}")
        self.socket = sockets[0]
        self.socket.settimeout(PATIENCE_SECONDS)
        self.is_waiting = False
        self.clients: int | None = None
        self._received = b""

    def publish(self, events: list[bytes]) -> None:
        """See `Producer`."""
        self.socket.sendall(b"".join([client_frame(event) for event in events]))

    def fence(self) -> None:
        """See `Producer`: a ping is answered when all before it has been read."""
        self.socket.sendall(client_frame(b"fence", PING))
        self.is_waiting = True

    def receive(self) -> None:
        """See `Producer`."""
        data = self.socket.recv(_CHUNK_BYTES)
        if not data:
            raise ConnectionError("the server has closed the publisher's connection")
        self._received += data
        end = 0
        for frame in parse_frames(self._received):
            end = frame.end
            if frame.opcode == PING:
                self.socket.sendall(client_frame(frame.payload, PONG))
            elif frame.opcode == PONG:
                self.is_waiting = False
            elif frame.opcode == CLOSE:
                raise ConnectionError(f"the server closes the publisher: {frame.payload!r}")
        self._received = self._received[end:]


class HttpPublisher:
    """One POST with a JSON array; a single event goes alone."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(("127.0.0.1", address.port), PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_waiting = False
        self.clients: int | None = None
        self._head = _head(address, "Content-Type: application/json\r\nContent-Length: ")
        self._received = b""

    def publish(self, events: list[bytes]) -> None:
        """See `Producer`."""
        body = events[0] if len(events) == 1 else b"[%b]" % b",".join(events)
        self.socket.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        self.is_waiting = True

    def fence(self) -> None:
        """See `Producer`: every answer is such a fence."""

    def receive(self) -> None:
        """See `Producer`."""
        data = self.socket.recv(_CHUNK_BYTES)
        if not data:
            raise ConnectionError("the server has closed the publisher's connection")
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= _content_length(head):
            if not head.startswith(b"HTTP/1.1 202"):
                raise ConnectionError(f"publishing: {self._received.decode()}")
            self.clients = json.loads(body)["clients"]
            self._received = b""
            self.is_waiting = False


class StreamPublisher(HttpPublisher):
    """One POST whose body goes on and on, a line an event; a fence ends it, and the next begins."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._head = _head(
            address, "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        # A request has begun, and has not ended.
        self._is_open = False

    def publish(self, events: list[bytes]) -> None:
        """See `Producer`."""
        head = b"" if self._is_open else self._head
        self._is_open = True
        lines = b"\n".join([*events, b""])
        self.socket.sendall(b"%b%x\r\n%b\r\n" % (head, len(lines), lines))

    def fence(self) -> None:
        """See `Producer`: the answer comes when all of the stream has been taken."""
        if self._is_open:
            self.socket.sendall(b"0\r\n\r\n")
            self._is_open, self.is_waiting = False, True


_KINDS: dict[str, Callable[[Address], Producer]] = {
    "websocket": WebsocketPublisher,
    "http": HttpPublisher,
    "ndjson": StreamPublisher,
}


def open_publisher(kind: str, address: Address) -> Producer:
    """A publisher of the `kind` "websocket", "http" or "ndjson"."""
    return _KINDS[kind](address)


def _head(address: Address, end: str) -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in address.headers.items())
    first = f"POST {address.path} HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\n"
    return f"{first}{headers}{end}".encode()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ConnectionError("an answer without Content-Length")
