"""Many WebSocket clients in one epoll loop, which count every byte.

Theory. All frames of a run have the same size, so it is known where in the stream each must
begin. Of every chunk that arrives, the bytes at those places are compared with the first byte
of a text frame, in one slice: that is cheap enough to be done for all clients, and nothing can
be lost, doubled or put between frames unnoticed, since the events are ASCII and have no such byte.
Where the comparison fails, the chunk is parsed: heartbeats are answered and do not count.

What is inside the frames, and that one that is lost does not make up for one that is doubled, is
checked for one client at a time (`sampled`).
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

__all__ = ["PATIENCE_SECONDS", "Address", "Stream", "Subscriber", "open_websockets"]

_FIRST_BYTE = 0x81
_MARKS = bytes([_FIRST_BYTE]) * 65536
_CHUNK_BYTES = 1 << 20
_CONTROL = (CLOSE, PING, PONG)

# A server has this long to deliver, or to answer a publisher, before the run is given up.
PATIENCE_SECONDS = 15

# A server that has not answered after this long will not do so.
_HANDSHAKE_SECONDS = 60

# Segments of an Ethernet and a small window. Within a machine segments are of 64 KiB, and the two
# ends buffer some 4 MiB for a client that does not read; with these it is about a tenth.
_NETWORK_SEGMENT = 1448
_NETWORK_BUFFER = 32768


@dataclass(frozen=True, slots=True)
class Address:
    """Where to open a WebSocket; `bare` as in `wire.check_upgraded`.

    Connections are spread over so many `instances`, whose number stands for "%d" in the path.
    """

    port: int
    path: str
    headers: Mapping[str, str]
    bare: bool = False
    instances: int = 1

    def path_of(self, connection: int) -> str:
        """The path for the connection of this number."""
        return self.path.replace("%d", str(connection % self.instances))


class Stream:
    """What all subscribers have in common: the frame size, and what each must have received."""

    def __init__(self) -> None:
        # All of them receive into the same buffer, one after the other.
        self.buffer = bytearray(_CHUNK_BYTES)
        # Bytes of one text frame, its head included; until one has come, more than any has.
        self.frame_size = 1 << 30
        # Text bytes that every subscriber gets up to the last event published, and those of the
        # last batch; where in the buffer its frames begin if it comes in one chunk.
        self.due = 0
        self.batch = 0
        self.batch_heads = slice(0)
        self.batch_marks = b""
        # Subscribers that the server has closed, and nobody has reaped yet.
        self.closed = 0

    def expect(self, events: int) -> None:
        """So many events have been published."""
        self.due += events * self.frame_size
        if self.batch != events * self.frame_size:
            self.batch = events * self.frame_size
            self.batch_heads = slice(0, self.batch, self.frame_size)
            self.batch_marks = _MARKS[:events]


class Subscriber:
    """One client."""

    __slots__ = (
        "_partial",
        "_recv_into",
        "_stream",
        "close_code",
        "noted",
        "sampled",
        "socket",
        "total",
    )

    def __init__(self, sock: socket.socket, stream: Stream, early: bytes = b"") -> None:
        self.socket = sock
        self._recv_into = sock.recv_into
        self._stream = stream
        # Text bytes received so far, frame heads included.
        self.total = 0
        # Events of an open loop whose receipt has been timed.
        self.noted = 0
        # The beginning of a control frame.
        self._partial = early
        # Received text bytes, while this subscriber is the one whose frames are decoded.
        self.sampled: bytearray | None = None
        # None while open; 0: closed without a close frame.
        self.close_code: int | None = None

    def receive(self, limit: int = 0) -> int:
        """Take all that has arrived; how many text bytes it was.

        If the server has closed the connection, the bytes that will never come count too, so
        that nobody waits for them.

        Args:
            limit: take no more bytes than these; 0: all.
        """
        stream = self._stream
        buffer = stream.buffer
        try:
            got = self._recv_into(buffer, limit)
        except BlockingIOError:
            return 0
        except OSError:
            return self.give_up()
        if not got:
            return self.give_up()
        # All of the last batch at once, and nothing else: this is how it mostly comes.
        if got == stream.batch:
            total = self.total + got
            if total == stream.due and buffer[stream.batch_heads] == stream.batch_marks:
                self.total = total
                if self.sampled is not None:
                    self.sampled += buffer[:got]
                return got
        size = stream.frame_size
        first = -self.total % size
        marks = -((first - got) // size)
        if self._partial or buffer[first:got:size] != _MARKS[:marks]:
            text = self._parse(bytes(buffer[:got]), first)
        else:
            text = got
            self.total += got
            if self.sampled is not None:
                self.sampled += buffer[:got]
        # Less than the buffer was all there was; more will be told by another edge.
        return text if got < _CHUNK_BYTES else text + self.receive()

    def give_up(self) -> int:
        """The connection is gone; the bytes that were due and will not come."""
        if self.socket.fileno() == -1:
            return 0
        self.socket.close()
        self._stream.closed += 1
        if self.close_code is None:
            self.close_code = 0
        return max(0, self._stream.due - self.total)

    def first_frame(self, deadline: float) -> bytes:
        """Wait for one whole text frame, of any size, and return its payload."""
        data = self._partial
        while True:
            position = 0
            for frame in parse_frames(data):
                if frame.opcode not in _CONTROL:
                    self._partial = data[frame.end :]
                    self._stream.frame_size = frame.end - position
                    return frame.payload
                self._control(frame.opcode, frame.payload)
                position = frame.end
            data = data[position:]
            _wait_readable(self.socket, deadline)
            data += self.socket.recv(_CHUNK_BYTES)

    def _parse(self, data: bytes, first: int) -> int:
        """A chunk with something else than whole text frames in it."""
        data, self._partial = self._partial + data, b""
        size = self._stream.frame_size
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
            self._control(frame.opcode, frame.payload)
            position = frame.end
        self.total += len(text)
        if self.sampled is not None:
            self.sampled += text
        return len(text)

    def _control(self, opcode: int, payload: bytes) -> None:
        with suppress(OSError):
            if opcode == PING:
                self.socket.send(client_frame(payload, PONG))
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") or 1005
                self.socket.send(client_frame(payload[:2], CLOSE))
            elif opcode != PONG:
                raise ValueError(f"a frame that nobody sends: opcode {opcode}")


class _Dial:
    """One connection on its way to a 101."""

    def __init__(self, address: Address, number: int, narrow: bool) -> None:
        self._address = address
        self._path = address.path_of(number)
        self._head = b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if narrow:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _NETWORK_SEGMENT)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NETWORK_BUFFER)
        self.socket.connect_ex(("127.0.0.1", address.port))

    def send_request(self) -> None:
        address = self._address
        self.socket.send(upgrade_request(self._path, address.port, address.headers))

    def receive(self) -> bytes | None:
        """What came behind the 101; None as long as that is not complete."""
        data = self.socket.recv(4096)
        if not data:
            raise HandshakeError("closed without an answer")
        self._head += data
        head, end, early = self._head.partition(b"\r\n\r\n")
        if not end:
            return None
        check_upgraded(head, bare=self._address.bare)
        return early


def open_websockets(
    address: Address,
    count: int,
    at_once: int,
    opened: Callable[[socket.socket, bytes], None],
    *,
    narrow: bool = False,
) -> dict[str, int]:
    """Open `count` WebSockets, `at_once` of them at a time.

    Args:
        address: where.
        count: how many.
        at_once: so many are on their way to the 101 at any time.
        opened: gets each socket and what came behind its 101.
        narrow: with the segments and windows of a network instead of those of this machine.

    Returns:
        How often which failure has come; empty if all are open.
    """
    failures: dict[str, int] = {}
    poller = select.epoll()
    dials: dict[int, _Dial] = {}
    left = count
    deadline = time.perf_counter() + _HANDSHAKE_SECONDS
    while (left or dials) and time.perf_counter() < deadline:
        while left and len(dials) < at_once:
            left -= 1
            dial = _Dial(address, left, narrow)
            dials[dial.socket.fileno()] = dial
            poller.register(dial.socket, select.EPOLLOUT)
        for fd, event in poller.poll(1.0):
            failure = _advance(poller, dials, fd, event, opened)
            if failure:
                failures[failure] = failures.get(failure, 0) + 1
    if dials:
        failures["no answer"] = len(dials) + left
    for dial in dials.values():
        dial.socket.close()
    poller.close()
    return failures


def _advance(
    poller: select.epoll,
    dials: dict[int, _Dial],
    fd: int,
    event: int,
    opened: Callable[[socket.socket, bytes], None],
) -> str | None:
    """Take one connection a step further; why it has failed, if so."""
    dial = dials[fd]
    try:
        if event & select.EPOLLOUT:
            dial.send_request()
            poller.modify(fd, select.EPOLLIN)
            return None
        early = dial.receive()
    except (OSError, HandshakeError) as error:
        poller.unregister(fd)
        del dials[fd]
        dial.socket.close()
        return str(error)
    if early is not None:
        poller.unregister(fd)
        del dials[fd]
        opened(dial.socket, early)
    return None


def _wait_readable(sock: socket.socket, deadline: float) -> None:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    if not poller.poll(max(0, deadline - time.perf_counter()) * 1000):
        raise TimeoutError("nothing has come")
