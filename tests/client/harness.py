"""Servers on loopback that behave as a test says, and a listener that keeps what it is told."""

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
    "Listening",
    "answering",
    "closing",
    "nobody",
    "refusing",
    "serving",
    "serving_tcp",
    "upper",
]

TOKEN = "the-instance-token"

Handler = Callable[[WebSocketRequest], Awaitable[None]]


def upper(_low: float, high: float) -> float:
    """Dice that always show the most."""
    return high


class Listening:
    """Runs `listen` and keeps what it tells; pauses are noted, not waited for."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.status: list[str] = []
        self.pauses: list[float] = []

    async def run(self, url: str, **options: Any) -> None:
        options = {"on_frame": self.frames.append, "on_status": self.status.append} | options
        with trio.fail_after(20):
            await listen(url, "orders", TOKEN, uniform=upper, sleep=self._sleep, **options)

    async def run_until_status(self, url: str) -> None:
        """To the first line for people, and no further."""
        with trio.CancelScope() as scope:

            def enough(text: str) -> None:
                self.status.append(text)
                scope.cancel()

            await self.run(url, on_status=enough)

    async def _sleep(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        self.pauses.append(seconds)


@contextlib.asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
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
async def nobody() -> AsyncIterator[str]:
    """An address where nobody listens."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


@contextlib.asynccontextmanager
async def answering(*answers: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers each connection with the next of these bytes and hangs up.

    None: hangs up without reading anything.
    """
    left, requests = list(answers), []

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            reply = left.pop(0) if len(left) > 1 else left[0]
            if reply is None:
                return
            requests.append(await read_request(stream))
            await stream.send_all(reply)

    async with serving_tcp(answer) as url:
        yield url, requests


async def read_request(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await more(stream)
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += await more(stream)
    return head + b"\r\n\r\n" + body


async def more(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some())
    assert data, "the client hung up in the middle of its request"
    return data


def closing(*codes: int, reason: str = "") -> Handler:
    """Closes each connection with the next code; after the last one sends frames for ever."""
    left = list(codes)

    async def handler(asked: WebSocketRequest) -> None:
        connection = await asked.accept()
        if left:
            await connection.aclose(left.pop(0), reason or None)
            return
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                await connection.send_message("{}")

    return handler


def refusing(status: int, message: str, **headers: str) -> bytes:
    body = json.dumps({"success": False, "error": {"message": message}}).encode()
    lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
