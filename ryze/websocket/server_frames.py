"""Server frames (RFC 6455, section 5.2): unmasked, so all subscribers can share one encoding."""

import struct
import zlib

from ryze.disconnects import Disconnect

__all__ = ["close_frame", "deflated_text_frame", "ping_frame", "pong_frame", "text_frame"]

_FIN_TEXT = 0x81
_FIN_CLOSE = 0x88
_FIN_PING = 0x89
_FIN_PONG = 0x8A
# Set in the first frame of a compressed message (RFC 7692, section 6).
_RSV1 = 0x40


def text_frame(payload: bytes) -> bytes:
    """Encode a text message as one frame."""
    return _header(_FIN_TEXT, len(payload)) + payload


def deflated_text_frame(payload: bytes) -> bytes:
    """Encode a text message as one compressed frame (RFC 7692, section 7.2.1).

    Without context takeover, so that this frame too can be shared by subscribers.
    """
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    deflated = deflated.removesuffix(b"\x00\x00\xff\xff")
    return _header(_FIN_TEXT | _RSV1, len(deflated)) + deflated


def ping_frame() -> bytes:
    """Encode a ping; without payload, as any byte from the peer counts as a heartbeat."""
    return _header(_FIN_PING, 0)


def pong_frame(payload: bytes) -> bytes:
    """Encode the pong to a ping: its payload, at most 125 bytes (section 5.5.3)."""
    return _header(_FIN_PONG, len(payload)) + payload


def close_frame(disconnect: Disconnect) -> bytes:
    """Encode the close frame; `disconnect` must have a code."""
    payload = struct.pack("!H", disconnect.code) + disconnect.reason.encode()
    return _header(_FIN_CLOSE, len(payload)) + payload


def _header(first_byte: int, length: int) -> bytes:
    if length < 126:
        return bytes((first_byte, length))
    if length < 65536:
        return struct.pack("!BBH", first_byte, 126, length)
    return struct.pack("!BBQ", first_byte, 127, length)
