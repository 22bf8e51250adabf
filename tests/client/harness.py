"""Servers on loopback with scripted behaviour, and a recorder for `listen`."""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import trio
import trio_websocket
from trio_websocket import WebSocketRequest, serve_websocket

from ryze.client import listen

__all__ = [
    "TOKEN",
    "Handler",
    "RecordedListen",
    "closing_with",
    "refusal",
    "serving_responses",
    "serving_tcp",
    "serving_websocket",
    "unused_address",
    "upper_bound",
]

TOKEN = "the-instance-token"

Handler = Callable[[WebSocketRequest], Awaitable[None]]


def upper_bound(_low: float, high: float) -> float:
    """Random source without randomness: the upper bound."""
    return high


class RecordedListen:
    """Runs `listen` and records its frames, status lines and pauses, which it does not wait for."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.status: list[str] = []
        self.pauses: list[float] = []

    async def run(self, url: str, **options: Any) -> None:
        options = {"on_frame": self.frames.append, "on_status": self.status.append} | options
        with trio.fail_after(20):
            await listen(url, "orders", TOKEN, uniform=upper_bound, sleep=self._sleep, **options)

    async def run_until_status(self, url: str) -> None:
        """Run until the first status line."""
        with trio.CancelScope() as scope:

            def stop(text: str) -> None:
                self.status.append(text)
                scope.cancel()

            await self.run(url, on_status=stop)

    async def _sleep(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        self.pauses.append(seconds)


@contextlib.asynccontextmanager
async def serving_websocket(
    handler: Handler, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0, tls)
        yield f"https://localhost:{server.port}" if tls else f"http://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def serving_tcp(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def unused_address() -> AsyncIterator[str]:
    """URL of a port on which nobody listens."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


@contextlib.asynccontextmanager
async def serving_responses(*responses: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Send the next of these responses on each connection, the last one repeatedly, and close.

    None: close without reading the request.
    """
    remaining, requests = list(responses), []

    async def respond(stream: trio.SocketStream) -> None:
        async with stream:
            response = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            if response is None:
                return
            requests.append(await read_request(stream))
            await stream.send_all(response)

    async with serving_tcp(respond) as url:
        yield url, requests


async def read_request(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await receive(stream)
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += await receive(stream)
    return head + b"\r\n\r\n" + body


async def receive(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some())
    assert data, "the client disconnected in the middle of its request"
    return data


def closing_with(*codes: int, reason: str = "") -> Handler:
    """Close each connection with the next code; after the last code send frames forever."""
    remaining = list(codes)

    async def handler(request: WebSocketRequest) -> None:
        connection = await request.accept()
        if remaining:
            await connection.aclose(remaining.pop(0), reason or None)
            return
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                await connection.send_message("{}")

    return handler


def refusal(status: int, message: str, **headers: str) -> bytes:
    """Build an error response in our envelope."""
    body = json.dumps({"success": False, "error": {"message": message}}).encode()
    lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
