"""Logging: one format for our loggers and those of libraries, with tokens masked.

Our loggers come from `structlog.get_logger`, those of libraries (Hypercorn, Trio) from `logging`,
where `configure_logging` installs a handler on the root logger. Both use the same processors and
the same stream: console lines on a terminal, JSON lines otherwise.
"""

import logging
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ryze.masking import mask_fields, may_contain_secret

__all__ = ["configure_logging"]

# Applied to every line, of either kind of logger.
_PROCESSORS: tuple[Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    # Never with local variables: they contain tokens.
    structlog.processors.format_exc_info,
)

_PLAIN_TYPES = frozenset((str, int, float, bool, type(None)))


def configure_logging(level: str, format: str, stream: TextIO | None = None) -> None:
    """Send all logging, ours and that of libraries, to `stream` in one format.

    May be called again; the last call counts. Levels and filters that are set in `logging` itself
    apply to libraries only.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``console``, ``json``, or ``auto``: console if `stream` is a terminal.
        stream: standard error if not given.
    """
    stream = sys.stderr if stream is None else stream
    output = _Output(stream)
    renderer = _masking(_choose_renderer(format, stream))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    _replace_handler(_Handler(output, renderer), threshold)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_PROCESSORS, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        # One logger per name: every connection has a bound logger of its own.
        logger_factory=cache(partial(_Logger, output)),
        # Else a second call would not reach the loggers of modules.
        cache_logger_on_first_use=False,
    )


class _Output:
    """Writes lines to the stream, and drops a line that cannot be written.

    That is: the disk is full, the reader has closed the pipe, or the stream is closed. There is
    no other place to report it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Reentrant: a finalizer that runs during a write can log too.
        self._lock = threading.RLock()

    def write_line(self, line: str) -> None:
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()


class _Logger:
    """Writes our lines directly: through `logging` each takes three times as long."""

    def __init__(self, output: _Output, name: str = "ryze") -> None:
        self.name = name
        self._output = output

    def _write(self, line: str) -> None:
        self._output.write_line(line)

    debug = info = warning = error = critical = _write


class _Handler(logging.Handler):
    """Writes the lines of libraries."""

    def __init__(self, output: _Output, renderer: Processor) -> None:
        super().__init__()
        self._output = output
        self._renderer = renderer
        without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(processors=[*_PROCESSORS, without_meta, renderer])
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. If formatting fails, its arguments are left out: they may be tokens."""
        try:
            line = self.format(record)
        except Exception as error:
            origin = {"logger": record.name, "level": record.levelname.lower()}
            line = str(self._renderer(None, "", _failed_line(error, origin)))
        self._output.write_line(line)


def _replace_handler(handler: logging.Handler, threshold: int) -> None:
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(threshold)


def _masking(renderer: Processor) -> Processor:
    """Wrap a renderer: secrets are masked, and it never raises.

    Most lines have only plain values and nothing to mask. They are rendered first and checked as
    one text: when 8,000 clients reconnect at once, each connection writes two lines, and these take
    22 us together instead of 116 with every value masked.
    """

    def render(logger: WrappedLogger, method: str, event: EventDict) -> Any:
        try:
            if all(type(value) in _PLAIN_TYPES for value in event.values()):
                # A copy, as the console renderer removes the values that it has rendered.
                line = str(renderer(logger, method, dict(event)))
                if not may_contain_secret(line):
                    return line
            return renderer(logger, method, mask_fields(event))
        except Exception as error:
            # A failed log line must not end what it reports on.
            return renderer(logger, method, _failed_line(error, event))

    return render


def _failed_line(error: Exception, event: Mapping[str, Any]) -> EventDict:
    """Make the replacement for a line that cannot be rendered: only its origin is kept."""
    origin = {name: event[name] for name in ("level", "logger", "timestamp") if name in event}
    return {"event": "log line failed", "error": type(error).__name__, **origin}


def _choose_renderer(format: str, stream: TextIO) -> Processor:
    is_terminal = stream.isatty()
    if format == "json" or (format == "auto" and not is_terminal):
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=is_terminal, exception_formatter=structlog.dev.plain_traceback
    )
