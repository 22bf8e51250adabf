"""Subscribers: WebSocket clients that account for every received byte.

All frames of a run have the same size, so the offset in the stream at which each frame begins is
known. Of every chunk that arrives, the bytes at those offsets are compared with the first byte of
a text frame, in one slice. That is cheap enough for all clients. Events are ASCII and never
contain that byte, so a lost, duplicated or inserted byte is detected. If the comparison fails, the
chunk is parsed: pings are answered, and do not count.

Payloads are decoded for one subscriber at a time (`Subscriber.inspected`). That also finds a lost
event whose bytes a duplicated one makes up for.
"""

import select
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from bench.websocket_client import (
    CLOSE,
    PING,
    PONG,
    HandshakeError,
    check_upgraded,
    client_frame,
    parse_frames,
    upgrade_request,
)

__all__ = ["TIMEOUT_SECONDS", "Address", "ExpectedStream", "Subscriber", "open_websockets"]

_FIRST_BYTE = 0x81
_FIRST_BYTES = bytes([_FIRST_BYTE]) * 65536
_CHUNK_BYTES = 1 << 20
_CONTROL = (CLOSE, PING, PONG)

# A run fails if a server needs longer to deliver an event, or to acknowledge it.
TIMEOUT_SECONDS = 15

# Handshakes without a response fail after this long.
_HANDSHAKE_SECONDS = 60

# Segments of an Ethernet, and a small window. On loopback, segments have 64 KiB, and the two ends
# buffer some 4 MiB for a client that does not read; with these it is about a tenth.
_NETWORK_SEGMENT = 1448
_NETWORK_BUFFER = 32768


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a server's WebSocket or HTTP endpoint; for the attributes see `Peer`."""

    port: int
    path: str
    headers: Mapping[str, str]
    has_accept: bool = True
    instances: int = 1

    def path_of(self, connection: int) -> str:
        """Return the path for a connection, by its number."""
        return self.path.replace("%d", str(connection % self.instances))


class ExpectedStream:
    """Frame size and received bytes that are expected of every subscriber."""

    def __init__(self) -> None:
        # All subscribers receive into this buffer, one after the other.
        self.buffer = bytearray(_CHUNK_BYTES)
        # Bytes of one text frame with its head; larger than any until the first has arrived.
        self.frame_size = 1 << 30
        # Text bytes up to the last event published.
        self.total = 0
        # Text bytes of the last batch, the offsets of its frames if it arrives in one chunk, and
        # the bytes at those offsets.
        self.batch = 0
        self.batch_offsets = slice(0)
        self.batch_first_bytes = b""
        # Subscribers that the server has closed since `ClientGroup.remove_closed`.
        self.closed_subscribers = 0

    def add(self, events: int) -> None:
        """Expect one more batch, of that many events."""
        self.total += events * self.frame_size
        if self.batch != events * self.frame_size:
            self.batch = events * self.frame_size
            self.batch_offsets = slice(0, self.batch, self.frame_size)
            self.batch_first_bytes = _FIRST_BYTES[:events]


class Subscriber:
    """One subscriber, from its 101 on."""

    __slots__ = (
        "_expected",
        "_partial",
        "_recv_into",
        "close_code",
        "inspected",
        "received",
        "recorded",
        "socket",
    )

    def __init__(
        self, sock: socket.socket, expected: ExpectedStream, received: bytes = b""
    ) -> None:
        self.socket = sock
        self._recv_into = sock.recv_into
        self._expected = expected
        # Text bytes received so far, with the heads of their frames.
        self.received = 0
        # Events of an open loop whose receipt has been recorded.
        self.recorded = 0
        # Beginning of a frame that is not complete; at first, the bytes after the 101.
        self._partial = received
        # Text bytes received since its inspection began; None while it is not inspected.
        self.inspected: bytearray | None = None
        # None while open; 0: closed without a close frame.
        self.close_code: int | None = None

    def receive(self, limit: int = 0) -> int:
        """Receive all that has arrived; return how many text bytes it accounts for.

        If the server has closed the connection, that includes the bytes that will never arrive,
        so that nothing waits for them.

        Args:
            limit: receive at most this many bytes; 0 for all.
        """
        expected = self._expected
        buffer = expected.buffer
        try:
            size = self._recv_into(buffer, limit)
        except BlockingIOError:
            return 0
        except OSError:
            return self.close()
        if not size:
            return self.close()
        # Fast path: the whole last batch, and nothing else.
        if size == expected.batch:
            received = self.received + size
            if (
                received == expected.total
                and buffer[expected.batch_offsets] == expected.batch_first_bytes
            ):
                self.received = received
                if self.inspected is not None:
                    self.inspected += buffer[:size]
                return size
        frame_size = expected.frame_size
        # Offset in the buffer at which the next frame begins, and number of frames that begin.
        first = -self.received % frame_size
        frames = -((first - size) // frame_size)
        if self._partial or buffer[first:size:frame_size] != _FIRST_BYTES[:frames]:
            text = self._parse(bytes(buffer[:size]), first)
        else:
            text = size
            self.received += size
            if self.inspected is not None:
                self.inspected += buffer[:size]
        # A buffer that is not full was all there was; more will trigger another edge.
        return text if size < _CHUNK_BYTES else text + self.receive()

    def close(self) -> int:
        """Close the socket; return the expected bytes that will not arrive."""
        if self.socket.fileno() == -1:
            return 0
        self.socket.close()
        self._expected.closed_subscribers += 1
        if self.close_code is None:
            self.close_code = 0
        return max(0, self._expected.total - self.received)

    def receive_first_frame(self, deadline: float) -> bytes:
        """Wait for one text frame of any size, learn the frame size, and return the payload."""
        data = self._partial
        while True:
            position = 0
            for frame in parse_frames(data):
                if frame.opcode not in _CONTROL:
                    self._partial = data[frame.end :]
                    self._expected.frame_size = frame.end - position
                    return frame.payload
                self._handle_control(frame.opcode, frame.payload)
                position = frame.end
            data = data[position:]
            _wait_readable(self.socket, deadline)
            data += self.socket.recv(_CHUNK_BYTES)

    def _parse(self, data: bytes, first: int) -> int:
        """Take the text bytes out of a chunk with control frames in it; return how many."""
        data, self._partial = self._partial + data, b""
        size = self._expected.frame_size
        text = bytearray(data[:first])
        position = first
        while position < len(data):
            if data[position] == _FIRST_BYTE:
                text += data[position : position + size]
                position += size
                continue
            frame = next(parse_frames(data, position), None)
            if frame is None:
                self._partial = data[position:]
                break
            self._handle_control(frame.opcode, frame.payload)
            position = frame.end
        self.received += len(text)
        if self.inspected is not None:
            self.inspected += text
        return len(text)

    def _handle_control(self, opcode: int, payload: bytes) -> None:
        with suppress(OSError):
            if opcode == PING:
                self.socket.send(client_frame(payload, PONG))
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") or 1005
                self.socket.send(client_frame(payload[:2], CLOSE))
            elif opcode != PONG:
                raise ValueError(f"expected a text or control frame, got opcode {opcode:#x}")


class _Handshake:
    """A connection that has not received its 101 yet."""

    def __init__(self, address: Address, number: int, has_small_windows: bool) -> None:
        self._address = address
        self._path = address.path_of(number)
        self._head = b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if has_small_windows:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _NETWORK_SEGMENT)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NETWORK_BUFFER)
        self.socket.connect_ex(("127.0.0.1", address.port))

    def send_request(self) -> None:
        address = self._address
        self.socket.send(upgrade_request(self._path, address.port, address.headers))

    def receive(self) -> bytes | None:
        """Return the bytes after the 101, or None while it is not complete."""
        data = self.socket.recv(4096)
        if not data:
            raise HandshakeError("closed without a response")
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return None
        check_upgraded(head, has_accept=self._address.has_accept)
        return rest


def open_websockets(
    address: Address,
    count: int,
    concurrency: int,
    opened: Callable[[socket.socket, bytes], None],
    *,
    has_small_windows: bool = False,
) -> dict[str, int]:
    """Open `count` WebSockets.

    Args:
        address: of all of them.
        count: how many.
        concurrency: handshakes at the same time.
        opened: called with each socket, and the bytes received after its 101.
        has_small_windows: use the segments and windows of a network, not those of loopback.

    Returns:
        The failures, and how often each occurred; empty if all are open.
    """
    failures: dict[str, int] = {}
    poller = select.epoll()
    handshakes: dict[int, _Handshake] = {}
    left = count
    deadline = time.perf_counter() + _HANDSHAKE_SECONDS
    while (left or handshakes) and time.perf_counter() < deadline:
        while left and len(handshakes) < concurrency:
            left -= 1
            handshake = _Handshake(address, left, has_small_windows)
            handshakes[handshake.socket.fileno()] = handshake
            poller.register(handshake.socket, select.EPOLLOUT)
        for fd, event in poller.poll(1.0):
            failure = _advance(poller, handshakes, fd, event, opened)
            if failure:
                failures[failure] = failures.get(failure, 0) + 1
    if handshakes:
        failures["no response"] = len(handshakes) + left
    for handshake in handshakes.values():
        handshake.socket.close()
    poller.close()
    return failures


def _advance(
    poller: select.epoll,
    handshakes: dict[int, _Handshake],
    fd: int,
    event: int,
    opened: Callable[[socket.socket, bytes], None],
) -> str | None:
    """Send the request or receive the response of a handshake; return the failure, if any."""
    handshake = handshakes[fd]
    try:
        if event & select.EPOLLOUT:
            handshake.send_request()
            poller.modify(fd, select.EPOLLIN)
            return None
        received = handshake.receive()
    except (OSError, HandshakeError) as error:
        poller.unregister(fd)
        del handshakes[fd]
        handshake.socket.close()
        return str(error)
    if received is not None:
        poller.unregister(fd)
        del handshakes[fd]
        opened(handshake.socket, received)
    return None


def _wait_readable(sock: socket.socket, deadline: float) -> None:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    if not poller.poll(max(0, deadline - time.perf_counter()) * 1000):
        raise TimeoutError("no event has arrived")
