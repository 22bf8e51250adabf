"""Transports: a plain TCP socket, or any Trio stream such as TLS (see `ryze.hub.transport`)."""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import trio

__all__ = ["SocketTransport", "StreamTransport"]

# SO_LINGER on, zero seconds: close() resets the connection and frees its send buffer.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


_RECEIVE_BYTES = 4096


class SocketTransport:
    """A connected TCP socket, used directly: one system call per offer.

    Args:
        stream: its socket is taken over; the stream is unusable afterwards.
    """

    __slots__ = ("_socket", "committed", "receive_bytes")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self.committed = 0
        self.receive_bytes = _RECEIVE_BYTES

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `Transport`."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        """See `Transport`."""
        await trio.lowlevel.wait_writable(self._socket)

    async def receive_some(self) -> bytes:
        """See `Transport`."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(self.receive_bytes)
            except BlockingIOError:
                continue

    def send_eof(self) -> None:
        """See `Transport`."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See `Transport`."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def abort(self) -> None:
        """See `Transport`."""
        if self._socket.fileno() != -1:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()


class StreamTransport:
    """A Trio stream that cannot be written to without waiting: TLS.

    A piece is `committed` from its offer until the stream has sent all of it, and reported as
    taken by the next offer after that. So nothing counts as delivered too early.
    """

    __slots__ = ("_done", "_piece", "_stream", "committed", "receive_bytes")

    # The most that fits one TLS record (RFC 8446, section 5.1).
    _PIECE_BYTES = 16384

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        # The committed bytes, and whether the stream has sent all of them.
        self._piece = b""
        self._done = False
        self.committed = 0
        self.receive_bytes = _RECEIVE_BYTES

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `Transport`."""
        if not self._piece:
            self._piece = bytes(data[: self._PIECE_BYTES])
            self.committed = len(self._piece)
            return 0
        if not self._done:
            return 0
        taken = self.committed
        self._piece, self._done, self.committed = b"", False, 0
        return taken

    async def wait_writable(self) -> None:
        """See `Transport`; cancelling it within a record ends the connection."""
        if self._piece and not self._done:
            with _as_os_errors():
                await self._stream.send_all(self._piece)
            self._done = True
        else:
            await trio.lowlevel.checkpoint()

    async def receive_some(self) -> bytes:
        """See `Transport`."""
        with _as_os_errors():
            return bytes(await self._stream.receive_some(self.receive_bytes))

    def send_eof(self) -> None:
        """See `Transport`; no effect with TLS."""

    def close(self) -> None:
        """See `Transport`; without a TLS close alert: the close frame was the end."""
        self._stream.transport_stream.socket.close()

    def abort(self) -> None:
        """See `Transport`."""
        sock = self._stream.transport_stream.socket
        if sock.fileno() != -1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Translate Trio's stream errors into those of a socket."""
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise OSError(errno.EPIPE, str(error)) from error
