"""trio-websocket: one memory channel of 256 per subscriber, and a task that sends from it."""

import sys

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

QUEUE_SIZE = 256

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


async def handle(request: WebSocketRequest) -> None:
    """Serve one connection: the producer's, or a subscriber's."""
    client = await request.accept()
    try:
        if request.path == "/publish":
            while True:
                fan_out(await client.get_message())
        await subscribe(client)
    except ConnectionClosed:
        pass


async def subscribe(client: WebSocketConnection) -> None:
    """Serve a subscriber until it disconnects or is evicted."""
    send, receive = trio.open_memory_channel[str | bytes](QUEUE_SIZE)
    with trio.CancelScope() as scope:
        subscribers[send] = scope, getattr(client.remote, "port", 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_heartbeat, client)
            try:
                async for message in receive:
                    await client.send_message(message)
            finally:
                subscribers.pop(send, None)
                nursery.cancel_scope.cancel()


async def send_heartbeat(client: WebSocketConnection) -> None:
    """Ping every 30 s, and expect the pong within 30 s."""
    while True:
        await trio.sleep(30)
        with trio.fail_after(30):
            await client.ping()


trio.run(serve_websocket, handle, "127.0.0.1", int(sys.argv[1]), None)
