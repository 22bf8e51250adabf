"""The interface of the bytes below a connection, as the outbox and the reader need them.

The outbox asks "how many bytes do you take right now?" (`send_nowait`) and must be able to say to
the byte what a peer has been given. So a transport never keeps bytes back silently: bytes that it
has begun to send and cannot take back are `committed` until it reports them as taken.
`ryze.server.transport` has the implementations, for plain TCP and for TLS.
"""

from typing import Protocol

__all__ = ["Transport"]


class Transport(Protocol):
    """What a connection needs of its peer's end of the wire."""

    # Bytes of the last offer that are on their way already, though not yet reported as taken.
    committed: int
    # How many bytes to ask for at once. A subscriber sends little but pongs: a small buffer
    # keeps a thousand talkers cheap.
    receive_bytes: int

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Offer `data`; how many of its first bytes have been taken, without ever blocking.

        Raises:
            OSError: the peer is gone.
        """

    async def wait_writable(self) -> None:
        """Wait until another offer is worth while. Cancelling it loses nothing of ours.

        Raises:
            OSError: the peer is gone.
        """

    async def receive_some(self) -> bytes:
        """Some bytes from the peer, none at its end. Cancelling it loses nothing.

        Raises:
            OSError: the peer is gone.
        """

    def send_eof(self) -> None:
        """Say that nothing more will be sent, where the wire can say so.

        Raises:
            OSError: the peer is gone.
        """

    def close(self) -> None:
        """Give the connection back to the operating system, which delivers what it has taken."""

    def abort(self) -> None:
        """Reset the connection: what the operating system still holds of it is freed."""
