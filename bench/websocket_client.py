"""The client's side of RFC 6455, as little of it as a load generator needs.

Client frames must be masked; the mask here is four zero bytes, which is a mask, and costs
nothing.
"""

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from wsproto.utilities import generate_accept_token

__all__ = [
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "HandshakeError",
    "check_upgraded",
    "client_frame",
    "parse_frames",
    "upgrade_request",
]

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

_KEY = base64.b64encode(b"the bench client").decode()
_ACCEPT = generate_accept_token(_KEY.encode())
_FIN = 0x80
_MASKED = 0x80
_NO_MASK = bytes(4)


class HandshakeError(Exception):
    """The server has not answered with a proper 101."""


class Frame(NamedTuple):
    """One whole frame of the server."""

    opcode: int
    payload: bytes
    # Where it ends in the bytes that were parsed.
    end: int


def upgrade_request(path: str, port: int, headers: Mapping[str, str]) -> bytes:
    """The request that opens a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {_KEY}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def check_upgraded(head: bytes, *, bare: bool = False) -> None:
    """Is this response head the 101 that was asked for?

    Args:
        head: from the status line to the empty line.
        bare: the server is none, and answers with a 101 that fits no key.

    Raises:
        HandshakeError: it is not; the message is the status line.
    """
    if not head.startswith(b"HTTP/1.1 101") or not (bare or _ACCEPT in head):
        raise HandshakeError(head.partition(b"\r\n")[0].decode("latin-1"))


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole message to the server."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", _FIN | opcode, _MASKED | size)
    elif size < 65536:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | 127, size)
    return b"".join((head, _NO_MASK, payload))


def parse_frames(data: bytes | bytearray, start: int = 0) -> Iterator[Frame]:
    """The whole frames of the server in `data`, from `start` on."""
    while len(data) >= start + 2:
        size, head = data[start + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[start + 2 : start + head], "big")
        end = start + head + size
        if len(data) < max(end, start + head):
            return
        yield Frame(data[start] & 0x0F, bytes(data[start + head : end]), end)
        start = end
