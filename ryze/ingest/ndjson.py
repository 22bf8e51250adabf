"""Newline-delimited JSON, line by line: bytes in, numbered lines out, however they are cut.

A line ends with LF or CRLF, the last one also with the body. Blank lines are counted and passed
over: a producer that has nothing to say sends one now and then, and its stream stays open.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ryze.errors import RyzeError

__all__ = ["Line", "LineReader", "LineTooLong"]


class Line(NamedTuple):
    """One line that is not blank.

    Args:
        number: counted from 1, blank lines included.
        text: without its end.
    """

    number: int
    text: bytes


class LineTooLong(RyzeError):
    """A line has more bytes than it may have.

    Args:
        number: which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"line {number} is too long")
        self.number = number


class LineReader:
    """Puts the lines of a body together.

    Args:
        max_bytes: of a line without its end; a longer one is refused as soon as that is known.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # Whole lines so far.
        self.count = 0
        # What has come of the line that has not ended yet.
        self._begun = bytearray()

    def receive_data(self, data: bytes) -> Iterator[Line]:
        """Feed bytes; the lines that end in them.

        Raises:
            LineTooLong: behind the last line that is not; nothing may be fed after it.
        """
        first, *others = data.split(b"\n")
        self._begun += first
        if others:
            *whole, begun = others
            whole.insert(0, bytes(self._begun))
            self._begun = bytearray(begun)
            yield from self._lines(whole)
        self._check(self._begun)

    def end(self) -> Iterator[Line]:
        """The body is over, and so is a last line without an end of its own."""
        yield from self._lines([bytes(self._begun)])

    def _lines(self, texts: list[bytes]) -> Iterator[Line]:
        # Somebody may send nothing but line ends: those must be cheap.
        for text in texts:
            if text:
                self._check(text)
                self.count += 1
                if not text.isspace():
                    yield Line(self.count, text.removesuffix(b"\r"))
            else:
                self.count += 1

    def _check(self, text: bytes | bytearray) -> None:
        size = len(text)
        if size > self._max_bytes and size - text.endswith(b"\r") > self._max_bytes:
            raise LineTooLong(self.count + 1)
