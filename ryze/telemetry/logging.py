"""Logging: one form for everybody, and no token in any of it.

Our own loggers come from `structlog.get_logger`, those of libraries (Hypercorn, Trio) from
`logging`, where `configure_logging` puts a handler on the root logger. Both go through the same
processors, and to the same stream: console lines on a terminal, JSON lines otherwise.

Whoever logs leaves tokens out; the last line of defence for those who forget is here. It hides
too much rather than too little, and works on what is about to be printed: values under tell-tale
keys at any depth, and tokens inside texts, tracebacks among them.
"""

import logging
import re
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any, TextIO
from urllib.parse import unquote_plus

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure_logging", "redact_query"]

_STARS = "***"

# `token=...` in a URL or a form, and every other pair, as the name may be percent-encoded:
# `%74oken` is a token to every server. The value goes on to the next `&` or white space, over
# quotes and all, since a token may hold any other printable character.
_PAIR = re.compile(r"(?<![\w%.+-])[\w%.+-]+=[^&\s]+")
# `"token": "..."` in JSON or in a repr, escaped once more or not, and the pair of a header list.
_QUOTED = re.compile(r"""(token\\*["']\s*[:,]\s*)\S+""", re.I)
# `token: ...` in a request head.
_HEADER = re.compile(r"(token\s*:\s*)\S+", re.I)
# `Authorization: Basic ...`, in a head or quoted: the rest of the line, as it has spaces.
_AUTHORIZATION = re.compile(r"""(authorization\\*["']?\s*[:,=]\s*)[^\r\n]+""", re.I)
_BEARER = re.compile(r"(\bbearer\s+)\S+", re.I)

# What every line goes through, whoever has logged it.
_PROCESSORS: tuple[Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    # Never with local variables, which is where tokens live.
    structlog.processors.format_exc_info,
)

# No line of plain values has anything to hide without one of these. Lines in JSON seldom have
# one, and a server that 8,000 clients come back to at once writes a line for each of them.
_SUSPICIOUS = ("=", "token", "authorization", "bearer", "encryption_key")
_PLAIN = frozenset((str, int, float, bool, type(None)))


def redact_query(target: str) -> str:
    """A request target that may be logged: the values of its tokens are ``***``."""
    path, mark, query = target.partition("?")
    return path + mark + "&".join(_redact_parameter(part) for part in query.split("&"))


def configure_logging(level: str, format: str, stream: TextIO | None = None) -> None:
    """Send all logging, ours and that of libraries, to `stream` in one form.

    May be called again; the last call counts. Levels and filters that are set in `logging` itself
    are for libraries alone.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``console``, ``json``, or ``auto``: console if `stream` is a terminal.
        stream: standard error if not given.
    """
    stream = sys.stderr if stream is None else stream
    output = _Output(stream)
    renderer = _redacting(_choose_renderer(format, stream))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    _replace_handler(_Handler(output, renderer), threshold)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_PROCESSORS, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        # One for each name: every connection has a bound logger of its own.
        logger_factory=cache(partial(_Logger, output)),
        # Else a second call would not reach the loggers of modules.
        cache_logger_on_first_use=False,
    )


class _Output:
    """Writes lines. One that cannot be written is lost: there is nowhere left to complain.

    The disk is full, whoever read the lines is gone, or the stream is closed already.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Reentrant, as whatever runs in the midst of a write may log as well.
        self._lock = threading.RLock()

    def write_line(self, line: str) -> None:
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()


class _Logger:
    """Writes our lines itself: through `logging` each of them takes three times as long."""

    def __init__(self, output: _Output, name: str = "ryze") -> None:
        self.name = name
        self._output = output

    def _write(self, line: str) -> None:
        self._output.write_line(line)

    debug = info = warning = error = critical = _write


class _Handler(logging.Handler):
    """Writes what libraries log."""

    def __init__(self, output: _Output, renderer: Processor) -> None:
        super().__init__()
        self._output = output
        self._renderer = renderer
        without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(processors=[*_PROCESSORS, without_meta, renderer])
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; the arguments of one that fails may be tokens, so they are not shown."""
        try:
            line = self.format(record)
        except Exception as error:
            about = {"logger": record.name, "level": record.levelname.lower()}
            line = str(self._renderer(None, "", _failure(error, about)))
        self._output.write_line(line)


def _replace_handler(handler: logging.Handler, threshold: int) -> None:
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(threshold)


def _redacting(renderer: Processor) -> Processor:
    """The same renderer, with nothing in its lines that must not be read; it never raises."""

    def render(logger: WrappedLogger, method: str, event: EventDict) -> Any:
        try:
            if all(type(value) in _PLAIN for value in event.values()):
                # A copy, as the console's renderer takes its values out.
                line = str(renderer(logger, method, dict(event)))
                if not _is_suspicious(line):
                    return line
            return renderer(logger, method, _redact(event))
        except Exception as error:
            # A line that cannot be made is no reason to end what it tells of.
            return renderer(logger, method, _failure(error, event))

    return render


def _is_suspicious(line: str) -> bool:
    """May there be something to hide? The patterns take some other letters for ours."""
    lower = line.lower()
    return not line.isascii() or any(word in lower for word in _SUSPICIOUS)


def _failure(error: Exception, event: Mapping[str, Any]) -> EventDict:
    """What is said instead of a line that has failed: nothing of it but where it comes from."""
    about = {name: event[name] for name in ("level", "logger", "timestamp") if name in event}
    return {"event": "log line failed", "error": type(error).__name__, **about}


def _choose_renderer(format: str, stream: TextIO) -> Processor:
    terminal = stream.isatty()
    if format == "json" or (format == "auto" and not terminal):
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=terminal, exception_formatter=structlog.dev.plain_traceback
    )


def _is_secret(key: str) -> bool:
    name = key.lower()
    return name.endswith("token") or name in ("authorization", "encryption_key")


def _redact(event: EventDict) -> EventDict:
    return {key: _redact_value(key, value) for key, value in event.items()}


def _redact_parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    # A value may be a URL again, with a token of its own.
    secret = _is_secret(unquote_plus(name)) or "token" in unquote_plus(value).lower()
    return f"{name}={_STARS}" if equals and secret else part


def _redact_text(text: str) -> str:
    text = _PAIR.sub(lambda pair: _redact_parameter(pair[0]), text)
    for pattern in (_AUTHORIZATION, _BEARER, _QUOTED, _HEADER):
        text = pattern.sub(rf"\1{_STARS}", text)
    return text


def _redact_value(key: str, value: Any) -> Any:
    if _is_secret(key):
        return _STARS
    match value:
        case str():
            return _redact_text(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(name): _redact_value(str(name), each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redact_value("", each) for each in value]
        case _:
            # Whatever it is, it would be printed as its repr.
            return _redact_text(repr(value))
