"""aiohttp: one `asyncio.Queue(256)` per subscriber, and a task that sends from it."""

import asyncio
import sys

from aiohttp import web

QUEUE_SIZE = 256

# Per subscriber: its queue, the task that sends from it, and the port it connects from.
subscribers: dict[web.WebSocketResponse, tuple[asyncio.Queue[str], asyncio.Task[None], int]] = {}
published = 0


def fan_out(message: str) -> None:
    """Queue the message for all subscribers; evict those whose queue is full."""
    global published
    published += 1
    for client, (queue, task, port) in list(subscribers.items()):
        try:
            queue.put_nowait(message)
        except asyncio.QueueFull:
            print("evicted", published, port, flush=True)
            del subscribers[client]
            task.cancel()


async def publish(request: web.Request) -> web.WebSocketResponse:
    """Serve the producer."""
    client = web.WebSocketResponse(compress=False)
    await client.prepare(request)
    async for message in client:
        fan_out(message.data)
    return client


async def subscribe(request: web.Request) -> web.WebSocketResponse:
    """Serve a subscriber until it disconnects or is evicted."""
    client = web.WebSocketResponse(compress=False, heartbeat=30)
    await client.prepare(request)
    queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_SIZE)
    task = asyncio.ensure_future(send_queued(client, queue))
    assert request.transport is not None
    subscribers[client] = queue, task, request.transport.get_extra_info("peername")[1]
    task.add_done_callback(lambda _: abort(request.transport))
    try:
        async for _ in client:
            pass
    finally:
        subscribers.pop(client, None)
        task.cancel()
    return client


def abort(transport: asyncio.Transport | None) -> None:
    """Reset the connection: a closing handshake would wait for a client that does not read."""
    if transport is not None:
        transport.abort()


async def send_queued(client: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
    """Send queued messages, one at a time."""
    while True:
        await client.send_str(await queue.get())


app = web.Application()
app.add_routes([web.get("/publish", publish), web.get("/subscribe", subscribe)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, backlog=4096)
