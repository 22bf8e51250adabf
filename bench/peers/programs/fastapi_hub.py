"""FastAPI on uvicorn and uvloop: one `asyncio.Queue(256)` and sending task per subscriber."""

import asyncio
import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

QUEUE_SIZE = 256

app = FastAPI()
subscribers: dict[WebSocket, asyncio.Queue[str]] = {}
published = 0


def fan_out(message: str) -> None:
    """Queue the message for all subscribers; evict those whose queue is full."""
    global published
    published += 1
    for client, queue in list(subscribers.items()):
        try:
            queue.put_nowait(message)
        except asyncio.QueueFull:
            print("evicted", published, client.scope["client"][1], flush=True)
            del subscribers[client]
            client.state.task.cancel()


@app.websocket("/publish")
async def publish(client: WebSocket) -> None:
    """Serve the producer."""
    await client.accept()
    try:
        while True:
            fan_out(await client.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/subscribe")
async def subscribe(client: WebSocket) -> None:
    """Serve a subscriber until it disconnects or is evicted."""
    await client.accept()
    queue = subscribers[client] = asyncio.Queue(QUEUE_SIZE)
    client.state.task = asyncio.ensure_future(send_queued(client, queue))
    reader = asyncio.ensure_future(wait_disconnected(client))
    try:
        await asyncio.wait([client.state.task, reader], return_when=asyncio.FIRST_COMPLETED)
    finally:
        subscribers.pop(client, None)
        client.state.task.cancel()
        reader.cancel()


async def send_queued(client: WebSocket, queue: asyncio.Queue[str]) -> None:
    """Send queued messages, one at a time."""
    while True:
        await client.send_text(await queue.get())


async def wait_disconnected(client: WebSocket) -> None:
    """Wait until the subscriber disconnects."""
    while (await client.receive())["type"] != "websocket.disconnect":
        pass


uvicorn.run(
    app,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    loop="uvloop",
    log_level="warning",
    backlog=4096,
    ws_ping_interval=30,
    ws_ping_timeout=30,
    ws_per_message_deflate=False,
)
