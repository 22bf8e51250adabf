"""Third-party WebSocket clients behind one interface: `receive` and `close`.

`RawClient` is none of them: it reads only when a test calls `receive`.
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

from .harness import TIMEOUT_SECONDS, clean_environ, require_tool

CLOSE = 0x8
TEXT = 0x1


class Client(Protocol):
    def receive(self) -> str:
        """The next text frame."""

    def close(self) -> None: ...


def connect_arguments(
    url: str, instance: str, token: str, *, in_query: bool = False
) -> tuple[str, dict[str, str]]:
    """URL and headers for a connection; the token is in the header or in the query."""
    target = f"{url.replace('http', 'ws', 1)}/ws/{instance}"
    if in_query:
        return f"{target}?token={quote(token, safe='')}", {}
    return target, {"token": token}


class WebsocketsClient:
    """The Python package ``websockets``."""

    def __init__(self, target: str, headers: dict[str, str]) -> None:
        self._stack = contextlib.ExitStack()
        self._connection = self._stack.enter_context(
            connect(
                target,
                additional_headers=headers,
                max_size=None,
                open_timeout=TIMEOUT_SECONDS,
                proxy=None,
            )
        )

    def receive(self) -> str:
        frame = self._connection.recv(timeout=TIMEOUT_SECONDS)
        assert isinstance(frame, str), "not a text frame"
        return frame

    def close(self) -> None:
        self._stack.close()


class AiohttpClient:
    """The Python package ``aiohttp``, in a thread: it replies to pings only while it receives."""

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
        frame = self._frames.get(timeout=TIMEOUT_SECONDS)
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        return str(frame.data)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._connection.close(), self._loop)
        self._thread.join(TIMEOUT_SECONDS)
        self._loop.close()


class WscatClient:
    """The npm package ``wscat``, which prints a line break after each message."""

    def __init__(self, target: str, headers: dict[str, str]) -> None:
        flags = [flag for name, text in headers.items() for flag in ("-H", f"{name}:{text}")]
        # wscat ends when its standard input does, so that stays open.
        self._process = subprocess.Popen(
            [require_tool("wscat"), "-c", target, *flags],
            env=clean_environ(),
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
            # A message may contain line breaks: it is complete when it is valid JSON.
            with contextlib.suppress(json.JSONDecodeError):
                json.loads(message)
                self._messages.put(message.removesuffix(b"\n").decode())
                message = b""

    def receive(self) -> str:
        return self._messages.get(timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        with self._process:
            self._process.kill()
            self._thread.join(TIMEOUT_SECONDS)


class RawClient:
    """A socket after the opening handshake; nothing is read except by `receive`.

    Args:
        receive_buffer: SO_RCVBUF in bytes; None: the default of the operating system.
    """

    def __init__(
        self, target: str, headers: dict[str, str], receive_buffer: int | None = None
    ) -> None:
        url = urlsplit(target)
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_SECONDS)
        if receive_buffer is not None:
            # Before connecting: the window scale is negotiated in the first packets.
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
            head += self._read_exactly(1)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def receive(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload; ConnectionError at the end of the connection."""
        first, length = self._read_exactly(2)
        assert first & 0xF0 == 0x80, "a fragment or an extension"
        if length >= 126:
            length = int.from_bytes(self._read_exactly(2 if length == 126 else 8), "big")
        return first & 0x0F, self._read_exactly(length)

    def _read_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed by the server")
            data += part
        return bytes(data)

    def close(self) -> None:
        self.socket.close()
