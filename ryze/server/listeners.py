"""The listening sockets of the port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ryze.errors import StartError

__all__ = ["open_listeners"]


@asynccontextmanager
async def open_listeners(host: str, port: int) -> AsyncIterator[list[trio.SocketListener]]:
    """Listen while the block runs; nothing is accepted here.

    Args:
        host: name or address.
        port: 0: any free one.

    Raises:
        StartError: the address is in use, or is not one of this machine.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host} port {port}: {error.strerror} (choose another with --port)"
        ) from error
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.socket.close()
