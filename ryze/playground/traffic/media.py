"""Images and voice notes: valid containers around noise, which does not compress."""

import base64
import struct
import zlib
from random import Random

__all__ = ["Media"]


class Media:
    """A few images and voice notes, made once: one per message would be most of the work.

    Args:
        random: random source.
        size: approximate size of an image in bytes, before base64; a voice note has half of it.
    """

    def __init__(self, random: Random, size: int) -> None:
        self._random = random
        self._images = [_base64(_png(random, size)) for _ in range(6)]
        self._voice_notes = [_base64(b"OggS" + random.randbytes(size // 2)) for _ in range(4)]

    def choose_image(self) -> str:
        """Choose a PNG, in base64."""
        return self._random.choice(self._images)

    def choose_voice_note(self) -> str:
        """Choose a voice note, in base64. It has the signature of Ogg, and no audio."""
        return self._random.choice(self._voice_notes)


def _png(random: Random, size: int) -> bytes:
    """Make a PNG of noise of about `size` bytes."""
    side = max(1, int((size / 3) ** 0.5))
    rows = b"".join(b"\0" + random.randbytes(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
