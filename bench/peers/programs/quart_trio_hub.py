"""Quart-Trio behind Hypercorn: a memory channel of 256 a client, and a task that empties it."""

import sys

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import websocket
from quart_trio import QuartTrio

QUEUE = 256

app = QuartTrio(__name__)
# Everybody's channel, what ends the client, and its port.
subscribers: dict[trio.MemorySendChannel[str | bytes], tuple[trio.CancelScope, int]] = {}
published = 0


def hand_out(message: str | bytes) -> None:
    """Queue the message for everybody, and drop those whose channel is full."""
    global published
    published += 1
    for channel, (scope, port) in list(subscribers.items()):
        try:
            channel.send_nowait(message)
        except trio.WouldBlock:
            print("dropped", published, port, flush=True)
            del subscribers[channel]
            scope.cancel()


@app.websocket("/publish")
async def publish() -> None:
    """The publisher."""
    while True:
        hand_out(await websocket.receive())
        # Without this the publisher would never let anybody else run.
        await trio.lowlevel.checkpoint()


@app.websocket("/subscribe")
async def subscribe() -> None:
    """A subscriber."""
    await websocket.accept()
    send, receive = trio.open_memory_channel[str | bytes](QUEUE)
    async with trio.open_nursery() as nursery:
        port = (websocket.scope.get("client") or ("", 0))[1]
        subscribers[send] = nursery.cancel_scope, port
        try:
            nursery.start_soon(read)
            async for message in receive:
                await websocket.send(message)
        finally:
            subscribers.pop(send, None)


async def read() -> None:
    """Notice that the client has left."""
    while True:
        await websocket.receive()


config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
config.backlog = 4096
config.websocket_ping_interval = 30
trio.run(serve, app, config)
