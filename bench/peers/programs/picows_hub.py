"""picows on uvloop: a compiled protocol that writes straight to the transport.

The queue is the transport's own buffer, which counts bytes: a client with more than 256
messages' worth of them is dropped.
"""

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

QUEUE = 256

subscribers: set[WSTransport] = set()
published = 0


def hand_out(message: bytes) -> None:
    """Send to everybody, and drop those who lag."""
    global published
    published += 1
    limit = QUEUE * len(message)
    for client in list(subscribers):
        transport = client.underlying_transport
        if transport.get_write_buffer_size() > limit:
            print("dropped", published, transport.get_extra_info("peername")[1], flush=True)
            subscribers.discard(client)
            transport.abort()
        else:
            client.send(WSMsgType.TEXT, message)


class Subscriber(WSListener):
    """Gets what is published."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """See picows."""
        subscribers.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """See picows."""
        subscribers.discard(transport)


class Producer(WSListener):
    """Sends what is published."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """See picows."""
        if frame.msg_type == WSMsgType.TEXT:
            hand_out(frame.get_payload_as_bytes())


def listener(request: WSUpgradeRequest) -> WSListener:
    """Who has connected?"""
    return Producer() if request.path == b"/publish" else Subscriber()


async def main() -> None:
    """Serve for ever."""
    server = await ws_create_server(
        listener,
        "127.0.0.1",
        int(sys.argv[1]),
        backlog=4096,
        enable_auto_ping=True,
        auto_ping_idle_timeout=30,
        auto_ping_reply_timeout=30,
    )
    await server.serve_forever()


uvloop.run(main())
