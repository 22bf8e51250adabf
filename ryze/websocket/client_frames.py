"""Rules for the frames of a client (RFC 6455, section 5), shared by both frame readers.

`message_reader` assembles the messages of a producer; `frame_validator` checks and discards those
of a subscriber. Neither may be fed after a `FrameError` (section 7.1.7).
"""

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - platforms without a compiled wheel
    from websockets.utils import apply_mask

from ryze.disconnects import INVALID_UTF8, PROTOCOL_ERROR, Disconnect
from ryze.errors import RyzeError

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "FIN",
    "LENGTH",
    "MASKED",
    "OPCODE",
    "PING",
    "PONG",
    "RSV1",
    "TEXT",
    "FrameError",
    "check_close",
    "check_frame",
    "extended_length",
    "unmask",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

# The fields of the first two bytes (section 5.2).
FIN, RSV1, OPCODE = 0x80, 0x40, 0x0F
MASKED, LENGTH = 0x80, 0x7F

_RESERVED = 0x70
_KNOWN = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))

# Codes that an endpoint may send, besides 3000-4999 (section 7.4).
_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))

# unmask(payload, mask): remove the 4 byte mask of a payload (section 5.3).
unmask = apply_mask


class FrameError(RyzeError):
    """The peer broke the protocol.

    Args:
        disconnect: the close code and reason to send.
    """

    def __init__(self, disconnect: Disconnect) -> None:
        super().__init__(disconnect.reason)
        self.disconnect = disconnect


def check_frame(first: int, second: int, *, in_message: bool, compression: bool = False) -> None:
    """Check the first two bytes of a frame.

    Args:
        first: flags and opcode.
        second: mask bit and 7 bit length, which is the whole length of a control frame.
        in_message: a message has begun, and its last frame has not come.
        compression: permessage-deflate was negotiated, so RSV1 may be set in the first frame of
            a message (RFC 7692, section 6).

    Raises:
        FrameError: a frame must not begin with them.
    """
    opcode = first & OPCODE
    is_control = opcode >= CLOSE
    reserved = first & _RESERVED
    if compression and opcode in (TEXT, BINARY):
        reserved &= ~RSV1
    if (
        reserved
        or opcode not in _KNOWN
        or not second & MASKED
        or (is_control and (second & LENGTH > 125 or not first & FIN))
        or (not is_control and (opcode == CONTINUATION) != in_message)
    ):
        raise FrameError(PROTOCOL_ERROR)


def check_close(payload: bytes) -> None:
    """Check the payload of a close frame (sections 5.5.1 and 7.4).

    Raises:
        FrameError: its code or its reason is invalid.
    """
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or (code not in _CLOSE_CODES and not 3000 <= code <= 4999):
        raise FrameError(PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise FrameError(INVALID_UTF8) from error


def extended_length(field: bytes) -> int:
    """Decode the extended length of a payload, a field of 2 or 8 bytes.

    Raises:
        FrameError: a shorter form would do, or the first bit is set (section 5.2).
    """
    length = int.from_bytes(field, "big")
    if length < (126 if len(field) == 2 else 65536) or length >> 63:
        raise FrameError(PROTOCOL_ERROR)
    return length
