"""The interface of the bytes below a connection, as the outbox and the reader need them.

The outbox counts to the byte what a peer has been given (`send_nowait`). So a transport never
keeps bytes back silently: bytes that it has begun to send and cannot take back are `committed`
until it reports them as taken.
`ryze.server.transports` has the implementations, for plain TCP and for TLS.
"""

from typing import Protocol

__all__ = ["Transport"]


class Transport(Protocol):
    """The byte stream of one peer."""

    # Bytes of the last offer that must still be sent, though they are not reported as taken.
    committed: int
    # Most bytes per `receive_some`. A subscriber sends little but pongs, so its buffer is small.
    receive_bytes: int

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Offer `data` without blocking; returns how many of its first bytes were taken.

        Raises:
            OSError: the connection is lost.
        """

    async def wait_writable(self) -> None:
        """Wait until another offer can succeed. Cancelling it loses no bytes.

        Raises:
            OSError: the connection is lost.
        """

    async def receive_some(self) -> bytes:
        """Receive bytes from the peer; none at its end. Cancelling it loses no bytes.

        Raises:
            OSError: the connection is lost.
        """

    def send_eof(self) -> None:
        """Close our sending side, where the protocol below has such a thing.

        Raises:
            OSError: the connection is lost.
        """

    def close(self) -> None:
        """Close the connection; the operating system still delivers the bytes that it has taken."""

    def abort(self) -> None:
        """Reset the connection; the operating system discards the bytes that it still holds."""
