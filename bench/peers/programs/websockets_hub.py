"""websockets: `broadcast()`, which writes to every transport and never waits.

The queue is the transport's own buffer, which counts bytes: a client with more than 256
messages' worth of them is dropped.
"""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

QUEUE = 256

subscribers: set[ServerConnection] = set()
published = 0


def hand_out(message: str | bytes) -> None:
    """Broadcast, after dropping those who lag."""
    global published
    published += 1
    limit = QUEUE * len(message)
    for client in [each for each in subscribers if buffered(each) > limit]:
        print("dropped", published, client.remote_address[1], flush=True)
        subscribers.discard(client)
        client.transport.abort()
    broadcast(subscribers, message)


def buffered(client: ServerConnection) -> int:
    """Bytes that the operating system has not taken."""
    return client.transport.get_write_buffer_size()


async def handle(client: ServerConnection) -> None:
    """One connection."""
    if client.request is not None and client.request.path == "/publish":
        async for message in client:
            hand_out(message)
        return
    subscribers.add(client)
    try:
        await client.wait_closed()
    finally:
        subscribers.discard(client)


async def main() -> None:
    """Serve for ever."""
    async with serve(
        handle,
        "127.0.0.1",
        int(sys.argv[1]),
        compression=None,
        ping_interval=30,
        ping_timeout=30,
        backlog=4096,
    ):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
