"""websockets: `broadcast()`, which writes to every transport and never waits.

The transport's buffer takes the place of the queue. It counts bytes: a subscriber with more than
256 times a message's size in it is evicted.
"""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

QUEUE_SIZE = 256

subscribers: set[ServerConnection] = set()
published = 0


def fan_out(message: str | bytes) -> None:
    """Evict subscribers that lag, then broadcast to the others."""
    global published
    published += 1
    limit = QUEUE_SIZE * len(message)
    for client in [each for each in subscribers if count_buffered(each) > limit]:
        print("evicted", published, client.remote_address[1], flush=True)
        subscribers.discard(client)
        client.transport.abort()
    broadcast(subscribers, message)


def count_buffered(client: ServerConnection) -> int:
    """Return the bytes that the operating system has not taken yet."""
    return client.transport.get_write_buffer_size()


async def handle(client: ServerConnection) -> None:
    """Serve one connection: the producer's, or a subscriber's."""
    if client.request is not None and client.request.path == "/publish":
        async for message in client:
            fan_out(message)
        return
    subscribers.add(client)
    try:
        await client.wait_closed()
    finally:
        subscribers.discard(client)


async def main() -> None:
    """Serve until the process is terminated."""
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
