"""Quart-Trio on Hypercorn: one memory channel of 256 per subscriber, and a task that sends."""

import sys

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import websocket
from quart_trio import QuartTrio

QUEUE_SIZE = 256

app = QuartTrio(__name__)
# Per subscriber: its channel, its cancel scope, and the port it connects from.
subscribers: dict[trio.MemorySendChannel[str | bytes], tuple[trio.CancelScope, int]] = {}
published = 0


def fan_out(message: str | bytes) -> None:
    """Queue the message for all subscribers; evict those whose channel is full."""
    global published
    published += 1
    for channel, (scope, port) in list(subscribers.items()):
        try:
            channel.send_nowait(message)
        except trio.WouldBlock:
            print("evicted", published, port, flush=True)
            del subscribers[channel]
            scope.cancel()


@app.websocket("/publish")
async def publish() -> None:
    """Serve the producer."""
    while True:
        fan_out(await websocket.receive())
        # Without this checkpoint the producer's task would not let other tasks run.
        await trio.lowlevel.checkpoint()


@app.websocket("/subscribe")
async def subscribe() -> None:
    """Serve a subscriber until it disconnects or is evicted."""
    await websocket.accept()
    send, receive = trio.open_memory_channel[str | bytes](QUEUE_SIZE)
    async with trio.open_nursery() as nursery:
        port = (websocket.scope.get("client") or ("", 0))[1]
        subscribers[send] = nursery.cancel_scope, port
        try:
            nursery.start_soon(wait_disconnected)
            async for message in receive:
                await websocket.send(message)
        finally:
            subscribers.pop(send, None)


async def wait_disconnected() -> None:
    """Receive until the subscriber disconnects, which cancels this task."""
    while True:
        await websocket.receive()


config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
config.backlog = 4096
config.websocket_ping_interval = 30
trio.run(serve, app, config)
