"""Minimal RFC 6455 client without I/O: upgrade request, its check, and frames.

Client frames must be masked. The mask is four zero bytes here, which is a valid mask and leaves
the payload as it is, so that masking costs the load generator nothing.
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
_ZERO_MASK = bytes(4)


class HandshakeError(Exception):
    """The server did not send a valid 101 response."""


class Frame(NamedTuple):
    """One complete frame from the server."""

    opcode: int
    payload: bytes
    # Offset of the next frame in the parsed bytes.
    end: int


def upgrade_request(path: str, port: int, headers: Mapping[str, str]) -> bytes:
    """Return the HTTP request that opens a WebSocket."""
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


def check_upgraded(head: bytes, *, has_accept: bool = True) -> None:
    """Check that a response head is the 101 for our upgrade request.

    Args:
        head: from the status line to the empty line.
        has_accept: it must have the right ``Sec-WebSocket-Accept``.

    Raises:
        HandshakeError: it is not; the message is the status line.
    """
    if not head.startswith(b"HTTP/1.1 101") or (has_accept and _ACCEPT not in head):
        raise HandshakeError(head.partition(b"\r\n")[0].decode("latin-1"))


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one frame from client to server, with FIN set."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", _FIN | opcode, _MASKED | size)
    elif size < 65536:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | 127, size)
    return b"".join((head, _ZERO_MASK, payload))


def parse_frames(data: bytes | bytearray, start: int = 0) -> Iterator[Frame]:
    """Yield the complete server frames in `data`, from offset `start` on."""
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
