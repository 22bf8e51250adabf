"""Logging: one form for everybody, and no token in any of it.

Our own loggers come from `structlog.get_logger`, those of libraries (Hypercorn, Trio) from
`logging`. Both end in the one handler that `configure_logging` puts on the root logger, and go
through the same processors there: console lines on a terminal, JSON lines otherwise.

Whoever logs leaves tokens out; `redact` is the last line of defence for those who forget. It
hides too much rather than too little, and works on what is about to be printed: values under
tell-tale keys at any depth, and tokens inside texts, tracebacks among them.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO
from urllib.parse import unquote_plus

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure_logging", "redact", "redact_query"]

_STARS = "***"

# `token=...` in a URL or a form, and every other pair, as the name may be percent-encoded:
# `%74oken` is a token to every server. The value goes on to the next `&` or white space, over
# quotes and all, since a token may hold any other printable character.
_PAIR = re.compile(r"[\w%.+-]+=[^&\s]+")
# `"token": "..."` in JSON or in a repr, escaped once more or not, and the pair of a header list.
_QUOTED = re.compile(r"""(token\\*["']\s*[:,]\s*)\S+""", re.I)
# `token: ...` in a request head.
_HEADER = re.compile(r"(token\s*:\s*)\S+", re.I)
# `Authorization: Basic ...`, in a head or quoted: the rest of the line, as it has spaces.
_AUTHORIZATION = re.compile(r"""(authorization\\*["']?\s*[:,=]\s*)[^\r\n]+""", re.I)
_BEARER = re.compile(r"(\bbearer\s+)\S+", re.I)

# One of these is in every text that the patterns above can find something in. Most texts have
# none, and a server that 8,000 clients come back to at once writes a line for each of them.
_SUSPICIOUS = re.compile(r"=|token|authorization|bearer", re.I)


def redact_query(target: str) -> str:
    """A request target that may be logged: the values of its tokens are ``***``."""
    path, mark, query = target.partition("?")
    return path + mark + "&".join(_redact_parameter(part) for part in query.split("&"))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor that takes tokens out of everything that is about to be printed."""
    return {key: _redact_value(key, value) for key, value in event.items()}


def configure_logging(level: str, format: str, stream: TextIO | None = None) -> None:
    """Send all logging, ours and that of libraries, to `stream` in one form.

    May be called again; the last call counts.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``console``, ``json``, or ``auto``: console if `stream` is a terminal.
        stream: standard error if not given.
    """
    stream = sys.stderr if stream is None else stream
    _replace_handler(_build_handler(stream, _choose_renderer(format, stream)), level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that a second `configure_logging` finds the handler of the first."""

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is lost; there is nowhere left to complain.

        The disk is full, or whoever read the lines is gone. (`logging` would write a traceback
        to the very same place.) What else goes wrong is a bug, and shown.
        """
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def _build_handler(stream: TextIO, renderer: Processor) -> logging.Handler:
    processors: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # Before `redact`, which must see the text of the traceback, and never with local
        # variables, which is where tokens live.
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        redact,
        renderer,
    ]
    handler = _Handler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors))
    return handler


def _replace_handler(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


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


def _redact_parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    # A value may be a URL again, with a token of its own.
    secret = _is_secret(unquote_plus(name)) or "token" in unquote_plus(value).lower()
    return f"{name}={_STARS}" if equals and secret else part


def _redact_text(text: str) -> str:
    if not _SUSPICIOUS.search(text):
        return text
    text = _PAIR.sub(lambda pair: _redact_parameter(pair[0]), text)
    for pattern in (_AUTHORIZATION, _BEARER, _QUOTED, _HEADER):
        text = pattern.sub(rf"\1{_STARS}", text)
    return text


def _redact_value(key: str, value: Any) -> Any:
    if _is_secret(key):
        return _STARS
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _redact_text(value)
        case Mapping():
            return {str(name): _redact_value(str(name), each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redact_value("", each) for each in value]
        case _:
            # Whatever it is, it would be printed as its repr.
            return _redact_text(repr(value))
