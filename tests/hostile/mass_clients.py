"""Thousands of WebSocket clients, for a server in a process of its own."""

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

__all__ = ["CLOSE", "TEXT", "MassClients", "Peer", "open_descriptors", "resident_bytes"]

TEXT, CLOSE = 1, 8

RESTARTING = close_frame(disconnects.RESTARTING)


@dataclass
class Peer:
    """One WebSocket, whose task reads it to its end."""

    stream: trio.SocketStream
    wire: bytearray = field(default_factory=bytearray)
    # Held while a frame is sent.
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
        """The data of the events it received, in order."""
        return [json.loads(frame.payload)["data"] for frame in self._frames(TEXT)]

    @property
    def close_code(self) -> int:
        """Code of the one close frame it received."""
        [frame] = self._frames(CLOSE)
        return frame.close_code

    def _frames(self, opcode: int) -> list[ServerFrame]:
        frames, rest = server_frames(self.wire)
        assert rest == b""
        return [frame for frame in frames if frame.opcode == opcode]


class MassClients:
    """Opens connections, and closes them at the end of its ``async with`` block."""

    def __init__(self, server: Server) -> None:
        host, _, port = server.url.removeprefix("http://").partition(":")
        self._address = host, int(port)
        self._streams: list[trio.SocketStream] = []

    async def __aenter__(self) -> "MassClients":
        return self

    async def __aexit__(self, *_: object) -> None:
        for stream in self._streams:
            stream.socket.close()

    async def open(self, receive_buffer: int | None = None) -> trio.SocketStream:
        sock = trio.socket.socket()
        if receive_buffer is not None:
            # Before connecting: the window scale is negotiated in the first packets.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect(self._address)
        stream = trio.SocketStream(sock)
        self._streams.append(stream)
        return stream

    async def connect(self, path: str, token: str, receive_buffer: int | None = None) -> Peer:
        stream = await self.open(receive_buffer)
        await stream.send_all(request_bytes("GET", path, {"token": token, **UPGRADE}))
        response = b""
        while b"\r\n\r\n" not in response:
            response += await stream.receive_some(4096)
        assert response.startswith(b"HTTP/1.1 101 "), response
        return Peer(stream, bytearray(response.partition(b"\r\n\r\n")[2]))

    async def connect_many(
        self, count: int, path: str, token: str, receive_buffer: int | None = None
    ) -> list[Peer]:
        """Connect `count` WebSockets, a multiple of 20, in 20 tasks."""
        peers: list[Peer] = []

        async def some() -> None:
            for _ in range(count // 20):
                peers.append(await self.connect(path, token, receive_buffer))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(some)
        return peers

    async def request(self, data: bytes) -> bytes:
        """Send a request; the beginning of the response."""
        stream = await self.open()
        await stream.send_all(data)
        return bytes(await stream.receive_some(65536))

    async def connect_and_leave(self, data: bytes, expected_status: bytes) -> None:
        """Connect, send `data`, check the status unless none is expected, disconnect."""
        async with await trio.open_tcp_stream(*self._address) as stream:
            await stream.send_all(data)
            if expected_status:
                assert (await stream.receive_some(65536))[8:13] == expected_status

    async def request_without_reading(self, token: str) -> None:
        """Request far more over HTTP than socket buffers hold, and read none of it."""
        stream = await self.open(receive_buffer=4096)
        request = request_bytes("GET", "/api/instance/list", {"token": token})
        with trio.move_on_after(1):
            await stream.send_all(request * 20_000)


def resident_bytes(server: Server) -> int:
    """Resident memory of the server now."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_descriptors(server: Server) -> int:
    """Open descriptors of the server now."""
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))
