"""Clients that nobody here wrote, behind one small face: `receive` and `close`.

And one that is not real: `RawClient` reads only what and when a test wants it to.
"""

import asyncio
import contextlib
import json
import queue
import socket
import subprocess
import threading
from typing import Protocol
from urllib.parse import quote, urlsplit

import aiohttp
from websockets.sync.client import connect

from .harness import CAP, environ, tool

CLOSE = 0x8
TEXT = 0x1


class Client(Protocol):
    def receive(self) -> str:
        """The next text frame."""

    def close(self) -> None: ...


def address(
    url: str, instance: str, token: str, *, in_query: bool = False
) -> tuple[str, dict[str, str]]:
    """The URL to connect to and the headers to send, with the token in one or the other."""
    target = f"{url.replace('http', 'ws', 1)}/ws/{instance}"
    if in_query:
        return f"{target}?token={quote(token, safe='')}", {}
    return target, {"token": token}


class WebsocketsClient:
    """The Python package ``websockets``."""

    def __init__(self, target: str, headers: dict[str, str]) -> None:
        self._stack = contextlib.ExitStack()
        self._connection = self._stack.enter_context(
            connect(target, additional_headers=headers, max_size=None, open_timeout=CAP, proxy=None)
        )

    def receive(self) -> str:
        frame = self._connection.recv(timeout=CAP)
        assert isinstance(frame, str), "a text frame"
        return frame

    def close(self) -> None:
        self._stack.close()


class AiohttpClient:
    """The Python package ``aiohttp``, in a thread as it answers pings only while it receives."""

    def __init__(self, target: str, headers: dict[str, str], heartbeat: float = 25) -> None:
        self._frames: queue.Queue[aiohttp.WSMessage] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        connecting = self._connect(target, headers, heartbeat)
        self._connection = self._loop.run_until_complete(connecting)
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._read()])
        self._thread.start()

    async def _connect(
        self, target: str, headers: dict[str, str], heartbeat: float
    ) -> aiohttp.ClientWebSocketResponse:
        self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientWSTimeout(ws_receive=90)
        try:
            return await self._session.ws_connect(
                target, headers=headers, heartbeat=heartbeat, timeout=timeout, max_msg_size=0
            )
        except BaseException:
            await self._session.close()
            raise

    async def _read(self) -> None:
        async with self._session:
            while not self._connection.closed:
                self._frames.put(await self._connection.receive())

    def receive(self) -> str:
        frame = self._frames.get(timeout=CAP)
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        return str(frame.data)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._connection.close(), self._loop)
        self._thread.join(CAP)
        self._loop.close()


class WscatClient:
    """The npm package ``wscat``, which prints a line break behind each message."""

    def __init__(self, target: str, headers: dict[str, str]) -> None:
        flags = [flag for name, text in headers.items() for flag in ("-H", f"{name}:{text}")]
        # It would end at the end of its input, so that stays open.
        self._process = subprocess.Popen(
            [tool("wscat"), "-c", target, *flags],
            env=environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._messages: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        message = b""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message += line
            # Messages have line breaks too: where the document is complete, the message is.
            with contextlib.suppress(json.JSONDecodeError):
                json.loads(message)
                self._messages.put(message.removesuffix(b"\n").decode())
                message = b""

    def receive(self) -> str:
        return self._messages.get(timeout=CAP)

    def close(self) -> None:
        with self._process:
            self._process.kill()
            self._thread.join(CAP)


class RawClient:
    """A socket after the handshake of RFC 6455; nothing is read unless asked for.

    Args:
        receive_buffer: what the operating system may keep for it, in bytes; None = as usual.
    """

    def __init__(
        self, target: str, headers: dict[str, str], receive_buffer: int | None = None
    ) -> None:
        url = urlsplit(target)
        self.socket = socket.socket()
        self.socket.settimeout(CAP)
        if receive_buffer is not None:
            # Before connecting: the window is agreed on in the first packet.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((url.hostname, url.port))
        lines = [
            f"GET {url.path}?{url.query} HTTP/1.1",
            f"Host: {url.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {text}" for name, text in headers.items()),
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._exactly(1)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def receive(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload; ConnectionError at the end of the connection."""
        first, length = self._exactly(2)
        assert first & 0xF0 == 0x80, "one whole frame, no extension"
        if length >= 126:
            length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
        return first & 0x0F, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed by the server")
            data += part
        return bytes(data)

    def close(self) -> None:
        self.socket.close()
