"""aiohttp: an `asyncio.Queue(256)` a client, and a task that empties it."""

import asyncio
import sys

from aiohttp import web

QUEUE = 256

# Everybody's queue, the task that empties it, and the client's port.
subscribers: dict[web.WebSocketResponse, tuple[asyncio.Queue[str], asyncio.Task[None], int]] = {}
published = 0


def hand_out(message: str) -> None:
    """Queue the message for everybody, and drop those whose queue is full."""
    global published
    published += 1
    for client, (queue, task, port) in list(subscribers.items()):
        try:
            queue.put_nowait(message)
        except asyncio.QueueFull:
            print("dropped", published, port, flush=True)
            del subscribers[client]
            task.cancel()


async def publish(request: web.Request) -> web.WebSocketResponse:
    """The publisher."""
    client = web.WebSocketResponse(compress=False)
    await client.prepare(request)
    async for message in client:
        hand_out(message.data)
    return client


async def subscribe(request: web.Request) -> web.WebSocketResponse:
    """A subscriber."""
    client = web.WebSocketResponse(compress=False, heartbeat=30)
    await client.prepare(request)
    queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)
    task = asyncio.ensure_future(empty(client, queue))
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
    """Close without waiting for a peer that does not read."""
    if transport is not None:
        transport.abort()


async def empty(client: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
    """Send what is queued."""
    while True:
        await client.send_str(await queue.get())


app = web.Application()
app.add_routes([web.get("/publish", publish), web.get("/subscribe", subscribe)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, backlog=4096)
