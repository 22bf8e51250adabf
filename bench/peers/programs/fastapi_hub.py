"""FastAPI on uvicorn and uvloop: an `asyncio.Queue(256)` a client, and a task that empties it."""

import asyncio
import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

QUEUE = 256

app = FastAPI()
subscribers: dict[WebSocket, asyncio.Queue[str]] = {}
published = 0


def hand_out(message: str) -> None:
    """Queue the message for everybody, and drop those whose queue is full."""
    global published
    published += 1
    for client, queue in list(subscribers.items()):
        try:
            queue.put_nowait(message)
        except asyncio.QueueFull:
            print("dropped", published, client.scope["client"][1], flush=True)
            del subscribers[client]
            client.state.task.cancel()


@app.websocket("/publish")
async def publish(client: WebSocket) -> None:
    """The publisher."""
    await client.accept()
    try:
        while True:
            hand_out(await client.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/subscribe")
async def subscribe(client: WebSocket) -> None:
    """A subscriber: ends when it leaves, or when it is dropped."""
    await client.accept()
    queue = subscribers[client] = asyncio.Queue(QUEUE)
    client.state.task = asyncio.ensure_future(empty(client, queue))
    reader = asyncio.ensure_future(read(client))
    try:
        await asyncio.wait([client.state.task, reader], return_when=asyncio.FIRST_COMPLETED)
    finally:
        subscribers.pop(client, None)
        client.state.task.cancel()
        reader.cancel()


async def empty(client: WebSocket, queue: asyncio.Queue[str]) -> None:
    """Send what is queued."""
    while True:
        await client.send_text(await queue.get())


async def read(client: WebSocket) -> None:
    """Notice that the client has left."""
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
