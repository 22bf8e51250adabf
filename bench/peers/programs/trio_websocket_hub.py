"""trio-websocket: a memory channel of 256 a client, and a task that empties it."""

import sys

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

QUEUE = 256

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


async def handle(request: WebSocketRequest) -> None:
    """One connection."""
    client = await request.accept()
    try:
        if request.path == "/publish":
            while True:
                hand_out(await client.get_message())
        await subscribe(client)
    except ConnectionClosed:
        pass


async def subscribe(client: WebSocketConnection) -> None:
    """A subscriber: ends when it leaves, or when it is dropped."""
    send, receive = trio.open_memory_channel[str | bytes](QUEUE)
    with trio.CancelScope() as scope:
        subscribers[send] = scope, getattr(client.remote, "port", 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, client)
            try:
                async for message in receive:
                    await client.send_message(message)
            finally:
                subscribers.pop(send, None)
                nursery.cancel_scope.cancel()


async def beat(client: WebSocketConnection) -> None:
    """The heartbeat."""
    while True:
        await trio.sleep(30)
        with trio.fail_after(30):
            await client.ping()


trio.run(serve_websocket, handle, "127.0.0.1", int(sys.argv[1]), None)
