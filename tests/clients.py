"""Minimal HTTP and WebSocket clients on a raw stream, with every byte under control."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.utilities import generate_accept_token

KEY = base64.b64encode(bytes(range(16))).decode()

# The headers of an upgrade request.
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


class EndOfStream(Exception):
    """The server closed the connection before the response was complete."""


@dataclass(frozen=True)
class Response:
    """One HTTP response.

    Args:
        headers: by lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and message, after checking the shape that all errors have."""
        message = json.loads(self.body)["error"]["message"]
        assert self.json == {"success": False, "error": {"message": message}}
        assert self.body.startswith(b'{"success":false,"error":')
        assert self.headers["content-type"] == "application/json"
        return self.status, message

    @property
    def rate_limit(self) -> tuple[int, int]:
        """Limit and remaining, after checking that all three headers are present."""
        assert self.headers["x-ratelimit-reset"].isdecimal()
        return int(self.headers["x-ratelimit-limit"]), int(self.headers["x-ratelimit-remaining"])


def request_bytes(
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    version: str = "1.1",
) -> bytes:
    fields = {"Host": "test", **(headers or {})}
    if body is not None and "Transfer-Encoding" not in fields:
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {target} HTTP/{version}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


class RawClient:
    """One connection. Reads no more than it must, so that it can become a WebSocket."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        await self.send(request_bytes(method, target, headers, body))
        return await self.read_response(has_body=method != "HEAD")

    async def read_response(self, *, has_body: bool = True) -> Response:
        """Read the next final response; a 100 (Continue) is skipped."""
        head = await self._read_until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a duplicate header in {lines}"
        if status == "100":
            return await self.read_response(has_body=has_body)
        size = int(headers["content-length"]) if has_body and status not in ("101", "204") else 0
        return Response(int(status), headers, await self._read_exactly(size))

    async def rest(self) -> bytes:
        """Read until the server closes its side; a reset is appended as ``<reset>``."""
        try:
            while await self._receive():
                pass
        except trio.BrokenResourceError:
            self._buffer += b"<reset>"
        return bytes(self._buffer)

    def take_buffer(self) -> bytes:
        taken, self._buffer = bytes(self._buffer), bytearray()
        return taken

    async def _receive(self) -> bool:
        data = await self.stream.receive_some(65536)
        self._buffer += data
        return bool(data)

    async def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if not await self._receive():
                raise EndOfStream(bytes(self._buffer))
        return await self._read_exactly(self._buffer.index(mark) + len(mark))

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._receive():
                raise EndOfStream(bytes(self._buffer))
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


class WebSocketClient:
    """A client after its 101: one frame in, one event out; it sends nothing by itself.

    Pings are skipped, as they may come at any time.
    """

    def __init__(self, client: RawClient, response: Response) -> None:
        assert response.status == 101, response
        assert response.headers["upgrade"] == "websocket"
        accept = generate_accept_token(KEY.encode()).decode()
        assert response.headers["sec-websocket-accept"] == accept
        self.response = response
        self.client = client
        self.stream = client.stream
        self._protocol = Connection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        if early := client.take_buffer():
            self._feed(early)

    async def next_event(self) -> Event:
        while not self._events:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            self._feed(bytes(data))
        return self._events.pop(0)

    async def text(self) -> str:
        """The next message, which must be a single text frame."""
        pieces: list[str] = []
        while True:
            event = await self.next_event()
            assert isinstance(event, TextMessage), event
            # wsproto reports a partial frame as it arrives; the message must not have two frames.
            assert event.message_finished == event.frame_finished
            pieces.append(event.data)
            if event.message_finished:
                return "".join(pieces)

    async def document(self) -> Any:
        return json.loads(await self.text())

    async def data(self) -> Any:
        return (await self.document())["data"]

    async def closed(self) -> tuple[int, str | None]:
        """Code and reason of the close frame, which must come next; completes the handshake."""
        event = await self.next_event()
        assert isinstance(event, CloseConnection), event
        if event.code != 1006:
            await self.send(event.response())
        return event.code, event.reason

    async def is_silent(self) -> bool:
        """Has nothing been received so far? The pong to a ping, kept in order, is first."""
        await self.send(Ping(payload=b"anything?"))
        event = await self.next_event()
        return isinstance(event, Pong)

    async def closed_by_now(self) -> bool:
        """Has the server begun to close? Checked with a ping, without a clock."""
        return not await self.is_silent()

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self._protocol.send(event))

    def _feed(self, data: bytes) -> None:
        if data:
            self._protocol.receive_data(data)
            events = self._protocol.events()
            self._events += [event for event in events if not isinstance(event, Ping)]
        else:
            self._events.append(CloseConnection(1006, "no close frame"))


__all__ = [
    "KEY",
    "UPGRADE",
    "EndOfStream",
    "RawClient",
    "Response",
    "WebSocketClient",
    "chunked",
    "request_bytes",
]
