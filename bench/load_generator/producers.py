"""Producers: publish over a WebSocket, or by HTTP with JSON arrays or an NDJSON stream."""

import json
import socket
from collections.abc import Callable
from typing import Protocol

from bench.load_generator.subscribers import TIMEOUT_SECONDS, Address, open_websockets
from bench.websocket_client import CLOSE, PING, PONG, HandshakeError, client_frame, parse_frames

__all__ = [
    "HttpProducer",
    "NdjsonProducer",
    "Producer",
    "WebSocketProducer",
    "open_producer",
]

_CHUNK_BYTES = 65536


class Producer(Protocol):
    """A connection that publishes events."""

    socket: socket.socket
    # The server must acknowledge before the next `publish`; `receive` clears it.
    is_awaiting_ack: bool
    # Subscribers that the last event reached; None if the server does not say.
    reached: int | None

    def publish(self, events: list[bytes]) -> None:
        """Send all events in one write."""

    def request_ack(self) -> None:
        """Make the server acknowledge everything that was published before."""

    def receive(self) -> None:
        """Read once from the socket."""


class WebSocketProducer:
    """Sends one text frame per event; the pong for a ping is the acknowledgement."""

    def __init__(self, address: Address) -> None:
        sockets: list[socket.socket] = []
        failures = open_websockets(address, 1, 1, lambda sock, received: sockets.append(sock))
        if failures:
            raise HandshakeError(f"producer on {address.path}: {next(iter(failures))}")
        self.socket = sockets[0]
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.is_awaiting_ack = False
        self.reached: int | None = None
        self._received = b""

    def publish(self, events: list[bytes]) -> None:
        """See `Producer`."""
        self.socket.sendall(b"".join([client_frame(event) for event in events]))

    def request_ack(self) -> None:
        """See `Producer`: a server sends the pong after it has read all frames before the ping."""
        self.socket.sendall(client_frame(b"ack", PING))
        self.is_awaiting_ack = True

    def receive(self) -> None:
        """See `Producer`."""
        self._received += _receive_some(self.socket)
        end = 0
        for frame in parse_frames(self._received):
            end = frame.end
            if frame.opcode == PING:
                self.socket.sendall(client_frame(frame.payload, PONG))
            elif frame.opcode == PONG:
                self.is_awaiting_ack = False
            elif frame.opcode == CLOSE:
                raise ConnectionError(f"the server closes the producer: {frame.payload!r}")
        self._received = self._received[end:]


class HttpProducer:
    """Sends one POST per write, with a JSON array or a single event; its response acknowledges."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(("127.0.0.1", address.port), TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_awaiting_ack = False
        self.reached: int | None = None
        self._head = _request_head(address, "Content-Type: application/json\r\nContent-Length: ")
        self._received = b""

    def publish(self, events: list[bytes]) -> None:
        """See `Producer`."""
        body = events[0] if len(events) == 1 else b"[%b]" % b",".join(events)
        self.socket.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        self.is_awaiting_ack = True

    def request_ack(self) -> None:
        """See `Producer`: every response is an acknowledgement, so there is nothing to send."""

    def receive(self) -> None:
        """See `Producer`."""
        self._received += _receive_some(self.socket)
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= _content_length(head):
            if not head.startswith(b"HTTP/1.1 202"):
                raise ConnectionError(f"expected 202, got {self._received.decode()}")
            self.reached = json.loads(body)["clients"]
            self._received = b""
            self.is_awaiting_ack = False


class NdjsonProducer(HttpProducer):
    """Sends one line per event in the body of one long POST, which `request_ack` ends."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._head = _request_head(
            address, "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        # A request has begun, and its body has not ended.
        self._is_open = False

    def publish(self, events: list[bytes]) -> None:
        """See `Producer`: sends one chunk."""
        head = b"" if self._is_open else self._head
        self._is_open = True
        lines = b"\n".join([*events, b""])
        self.socket.sendall(b"%b%x\r\n%b\r\n" % (head, len(lines), lines))

    def request_ack(self) -> None:
        """See `Producer`: the response comes when the server has read the whole body."""
        if self._is_open:
            self.socket.sendall(b"0\r\n\r\n")
            self._is_open, self.is_awaiting_ack = False, True


_KINDS: dict[str, Callable[[Address], Producer]] = {
    "websocket": WebSocketProducer,
    "http": HttpProducer,
    "ndjson": NdjsonProducer,
}


def open_producer(kind: str, address: Address) -> Producer:
    """Connect a producer of `kind` "websocket", "http" or "ndjson"."""
    return _KINDS[kind](address)


def _receive_some(sock: socket.socket) -> bytes:
    if not (data := sock.recv(_CHUNK_BYTES)):
        raise ConnectionError("the server has closed the producer's connection")
    return data


def _request_head(address: Address, end: str) -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in address.headers.items())
    first = f"POST {address.path} HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\n"
    return f"{first}{headers}{end}".encode()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ConnectionError("the response has no Content-Length")
