"""Newline-delimited JSON: numbered lines out of bytes that come in pieces of any size.

A line ends with LF or CRLF, the last one also with the body. Blank lines are counted and skipped:
a producer without events sends one now and then, and its stream stays open.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ryze.errors import RyzeError

__all__ = ["NDJSON", "Line", "LineReader", "LineTooLong"]

#: The media type.
NDJSON = "application/x-ndjson"


class Line(NamedTuple):
    """One line that is not blank.

    Args:
        number: counted from 1, blank lines included.
        text: without its end.
    """

    number: int
    text: bytes


class LineTooLong(RyzeError):
    """A line exceeds the limit.

    Args:
        number: of the line.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"line {number} is too long")
        self.number = number


class LineReader:
    """Assembles the lines of a body.

    Args:
        max_bytes: the longest line, without its end; a longer one is refused as soon as its
            length is known.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # Complete lines so far.
        self.count = 0
        # The part of the next line that has come; bounded by _check().
        self._partial = bytearray()

    def receive_data(self, data: bytes) -> Iterator[Line]:
        """Add bytes, and yield the lines that end in them.

        Raises:
            LineTooLong: after the lines before that one; nothing may be added after it.
        """
        first, *others = data.split(b"\n")
        self._partial += first
        if others:
            *complete, partial = others
            complete.insert(0, bytes(self._partial))
            self._partial = bytearray(partial)
            yield from self._lines(complete)
        self._check(self._partial)

    def end(self) -> Iterator[Line]:
        """Yield the last line, which may lack an end of its own."""
        yield from self._lines([bytes(self._partial)])

    def _lines(self, texts: list[bytes]) -> Iterator[Line]:
        # Empty lines take the short branch: a body may consist of nothing else.
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
