"""picows on uvloop: a compiled protocol that writes straight to the transport.

The transport's buffer takes the place of the queue. It counts bytes: a subscriber with more than
256 times a message's size in it is evicted.
"""

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

QUEUE_SIZE = 256

subscribers: set[WSTransport] = set()
published = 0


def fan_out(message: bytes) -> None:
    """Send the message to all subscribers; evict those that lag."""
    global published
    published += 1
    limit = QUEUE_SIZE * len(message)
    for client in list(subscribers):
        transport = client.underlying_transport
        if transport.get_write_buffer_size() > limit:
            print("evicted", published, transport.get_extra_info("peername")[1], flush=True)
            subscribers.discard(client)
            transport.abort()
        else:
            client.send(WSMsgType.TEXT, message)


class Subscriber(WSListener):
    """A subscriber's connection."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Add it to the subscribers (picows callback)."""
        subscribers.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Remove it from the subscribers (picows callback)."""
        subscribers.discard(transport)


class Producer(WSListener):
    """The producer's connection."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Fan out a text frame (picows callback)."""
        if frame.msg_type == WSMsgType.TEXT:
            fan_out(frame.get_payload_as_bytes())


def choose_listener(request: WSUpgradeRequest) -> WSListener:
    """Return the listener for a new connection, by its path."""
    return Producer() if request.path == b"/publish" else Subscriber()


async def main() -> None:
    """Serve until the process is terminated."""
    server = await ws_create_server(
        choose_listener,
        "127.0.0.1",
        int(sys.argv[1]),
        backlog=4096,
        enable_auto_ping=True,
        auto_ping_idle_timeout=30,
        auto_ping_reply_timeout=30,
    )
    await server.serve_forever()


uvloop.run(main())
