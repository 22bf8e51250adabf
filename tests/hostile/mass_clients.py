"""Very many WebSockets to a server that is a process of its own."""

import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from ryze import disconnects
from ryze.websocket.server_frames import close_frame
from tests.clients import UPGRADE, request_bytes
from tests.e2e.harness import Server
from tests.fakes import ServerFrame, client_frame, server_frames

__all__ = ["CLOSE", "TEXT", "Crowd", "Peer", "open_descriptors", "resident_bytes"]

TEXT, CLOSE = 1, 8

RESTARTING = close_frame(disconnects.RESTARTING)


@dataclass
class Peer:
    """One WebSocket, read by its own task to its end."""

    stream: trio.SocketStream
    wire: bytearray = field(default_factory=bytearray)
    # One frame at a time.
    sending: trio.Lock = field(default_factory=trio.Lock)

    async def send(self, frame: bytes) -> None:
        async with self.sending:
            await self.stream.send_all(frame)

    async def read_all(self) -> None:
        try:
            while data := await self.stream.receive_some(65536):
                self.wire += data
                if self.wire.endswith(RESTARTING):
                    await self.send(client_frame(CLOSE, RESTARTING[2:]))
        except trio.BrokenResourceError:
            self.wire += b"<reset>"

    @property
    def data(self) -> list[Any]:
        """What it was sent, in order."""
        return [json.loads(frame.payload)["data"] for frame in self._frames(TEXT)]

    @property
    def farewell(self) -> int:
        [frame] = self._frames(CLOSE)
        return frame.close_code

    def _frames(self, opcode: int) -> list[ServerFrame]:
        frames, rest = server_frames(self.wire)
        assert rest == b""
        return [frame for frame in frames if frame.opcode == opcode]


class Crowd:
    """Opens WebSockets, and closes them with the block that it is used in."""

    def __init__(self, server: Server) -> None:
        host, _, port = server.url.removeprefix("http://").partition(":")
        self._address = host, int(port)
        self._streams: list[trio.SocketStream] = []

    async def __aenter__(self) -> "Crowd":
        return self

    async def __aexit__(self, *_: object) -> None:
        for stream in self._streams:
            stream.socket.close()

    async def open(self, window: int | None = None) -> trio.SocketStream:
        sock = trio.socket.socket()
        if window is not None:
            # Before connecting: it is agreed on in the first packet.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        await sock.connect(self._address)
        stream = trio.SocketStream(sock)
        self._streams.append(stream)
        return stream

    async def connect(self, path: str, token: str, window: int | None = None) -> Peer:
        stream = await self.open(window)
        await stream.send_all(request_bytes("GET", path, {"token": token, **UPGRADE}))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await stream.receive_some(4096)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return Peer(stream, bytearray(answer.partition(b"\r\n\r\n")[2]))

    async def connect_many(
        self, count: int, path: str, token: str, window: int | None = None
    ) -> list[Peer]:
        """In a few tasks, each connecting one after the other."""
        peers: list[Peer] = []

        async def some() -> None:
            for _ in range(count // 20):
                peers.append(await self.connect(path, token, window))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(some)
        return peers

    async def ask(self, data: bytes) -> bytes:
        """The beginning of the answer to one request."""
        stream = await self.open()
        await stream.send_all(data)
        return bytes(await stream.receive_some(65536))

    async def visit(self, data: bytes, expected: bytes) -> None:
        """Come, say this, take an answer that begins so if one is expected, and go."""
        async with await trio.open_tcp_stream(*self._address) as stream:
            await stream.send_all(data)
            if expected:
                assert (await stream.receive_some(65536))[8:13] == expected

    async def ask_and_be_deaf(self, token: str) -> None:
        """Ask over HTTP for far more than a socket holds, and read none of it."""
        stream = await self.open(window=4096)
        request = request_bytes("GET", "/api/instance/list", {"token": token})
        with trio.move_on_after(1):
            await stream.send_all(request * 20_000)


def resident_bytes(server: Server) -> int:
    """How much memory it has at the moment."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_descriptors(server: Server) -> int:
    """How many it has at the moment."""
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))
