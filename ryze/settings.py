"""All settings, in one table.

A row of `Settings` is the only definition of a setting: its name, its default, its parser, a
description of valid values, and its help text. The flags of ``ryze serve``, the validation and
the table in the README are derived from these rows.

    attribute                      port
    environment variable           RYZE_PORT
    flag of ``ryze serve``         --port

Rules:

- Every value is a text, whatever its source, and is parsed by the parser of its row. Defaults are
  texts too, parsed in the same way.
- An empty text means the default, unless the row accepts empty as a value (an empty rate limit is
  off).
- Nothing here reads ``os.environ``; the command line passes it in.
"""

# `_row` is `dataclasses.field` with the default parsed from text: a call in a default is intended.
# ruff: noqa: RUF009

import base64
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Generic, TypeVar, cast
from urllib.parse import urlsplit

import limits

from ryze.errors import SettingsError
from ryze.masking import mask, mask_url_password

__all__ = ["Setting", "Settings", "all_settings"]

_T = TypeVar("_T")


# --- Kinds of values: parser and description ---


@dataclass(frozen=True)
class _Kind(Generic[_T]):
    """A kind of value. `read` raises `ValueError` for an invalid text."""

    read: Callable[[str], _T]
    expected: str
    metavar: str
    # An empty text is a value; otherwise it means the default.
    accepts_empty: bool = False


def _number(minimum: int, maximum: int | None = None) -> _Kind[int]:
    def read(text: str) -> int:
        value = int(text)
        if value < minimum or (maximum is not None and value > maximum):
            raise ValueError(text)
        return value

    upper = "or more" if maximum is None else f"to {maximum}"
    return _Kind(read, f"a whole number, {minimum} {upper}", "NUMBER")


def _seconds(*, zero: bool = False) -> _Kind[float]:
    def read(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            raise ValueError(text)
        return value

    return _Kind(read, f"a number of seconds, {'0 or more' if zero else 'more than 0'}", "SECONDS")


def _choice(*choices: str) -> _Kind[str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(text)
        return text.lower()

    return _Kind(read, f"one of {', '.join(choices)}", "|".join(choices))


def _read_on_off(text: str) -> bool:
    return {"on": True, "off": False}[_choice("on", "off").read(text)]


def _read_host(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[^\s/\[\]]+", host):
        raise ValueError(text)
    return host


def _read_base_url(text: str) -> str:
    if not text:
        return ""
    url = urlsplit(text)
    plain = re.fullmatch(r"[^\s?#@\\]+", text) and text.isprintable()
    # `url.port` raises ValueError for an invalid port.
    if not plain or url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
        raise ValueError(text)
    return text.rstrip("/")


def _read_database_url(text: str) -> str:
    if text and not re.match(r"sqlite:///.|postgres(ql)?://.", text):
        raise ValueError(text)
    return text


_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def _read_origin(text: str) -> str:
    origin = text.lower()
    if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@\\*]+", origin):
        raise ValueError(text)
    # Raises ValueError for an invalid port.
    _ = urlsplit(origin).port
    # Browsers leave out the default port.
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], ""))


def _read_origins(text: str) -> tuple[str, ...]:
    return tuple(_read_origin(part.strip()) for part in text.split(",") if part.strip())


def _read_rate_limit(text: str) -> limits.RateLimitItem | None:
    if not text:
        return None
    # `limits.parse` reads the first of several limits and silently drops the others.
    if len(limits.parse_many(text)) != 1:
        raise ValueError(text)
    limit = limits.parse(text)
    if limit.amount < 1 or limit.multiples < 1:
        raise ValueError(text)
    return limit


def _read_account_token(text: str) -> str:
    if text and not re.fullmatch(r"[\x21-\x7e]{8,255}", text):
        raise ValueError(text)
    return text


def _read_encryption_key(text: str) -> str:
    for part in text.split(",") if text else ():
        if len(base64.b64decode(part.strip(), validate=True)) != 32:
            raise ValueError(text)
    return text


def _read_file(text: str) -> Path | None:
    return Path(text) if text else None


def _read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


_PORT = _Kind(_number(0, 65535).read, "a port, 0 to 65535 (0 = any free port)", "PORT")
_HOST = _Kind(_read_host, "a host name or an IP address", "HOST")
_BASE_URL = _Kind(_read_base_url, "an http:// or https:// URL without query", "URL", True)
_DATABASE_URL = _Kind(
    _read_database_url, "sqlite:///<path> or postgresql://<user>@<host>/<name>", "URL", True
)
_DIRECTORY = _Kind(Path, "a directory", "DIRECTORY")
_FILE = _Kind(_read_file, "a file", "FILE", True)
_ON_OFF = _Kind(_read_on_off, "on or off", "on|off")
_ORIGINS = _Kind(
    _read_origins, "* or scheme://host[:port], or several, separated by commas", "ORIGINS", True
)
_NETWORKS = _Kind(
    _read_networks,
    "IP addresses or networks (10.0.0.0/8, no host bits set), separated by commas",
    "NETWORKS",
    True,
)
_RATE_LIMIT = _Kind(
    _read_rate_limit, "one limit such as 100/minute, or empty for no limit", "LIMIT", True
)
_ACCOUNT_TOKEN = _Kind(
    _read_account_token,
    "8 to 255 printable ASCII characters without spaces, valid in a header",
    "TOKEN",
    True,
)
_ENCRYPTION_KEY = _Kind(
    _read_encryption_key,
    "32 bytes in base64 (try: openssl rand -base64 32), or several keys, separated by commas",
    "KEY",
    True,
)


# --- Display of values ---


def _unmasked(text: str) -> str:
    return text


# --- The table ---


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Args:
        name: the attribute of `Settings`, e.g. ``port``.
        kind: parser and description of its values.
        default: the default as text; empty if there is none.
        help: its purpose, in one sentence.
        show: masks the secret parts of a text, for errors and reprs.
    """

    name: str
    kind: _Kind[Any]
    default: str
    help: str
    show: Callable[[str], str]

    @property
    def variable(self) -> str:
        """The environment variable, e.g. ``RYZE_PORT``."""
        return f"RYZE_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The flag of ``ryze serve``, e.g. ``--port``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def metavar(self) -> str:
        """Placeholder of the value in a help text, e.g. ``PORT``."""
        return self.kind.metavar

    @property
    def expected(self) -> str:
        """Description of valid values, the end of "expected ..."."""
        return self.kind.expected

    def read(self, text: str) -> Any:
        """Parse a text.

        Raises:
            SettingsError: the text is not a valid value.
        """
        text = text.strip()
        if not text and not self.kind.accepts_empty:
            text = self.default
        try:
            return self.kind.read(text)
        except ValueError:
            # Without its cause: that contains the value, which can be a secret.
            raise self.invalid(text) from None

    def repr_of(self, value: object) -> str:
        """Render ``name=value`` as in a repr, with secrets masked."""
        shown = value if self.show is _unmasked else self.show(_as_text(value))
        return f"{self.name}={shown!r}"

    def invalid(self, text: str, expected: str | None = None) -> SettingsError:
        """Make the error for an invalid value of this setting."""
        return SettingsError(self.variable, self.show(text), expected or self.expected)


def _row(default: str, kind: _Kind[_T], help: str, *, show: Callable[[str], str] = _unmasked) -> _T:
    metadata = {"kind": kind, "default": default, "help": help, "show": show}
    return field(default=kind.read(default), metadata=metadata)


@dataclass(frozen=True, repr=False)
class Settings:
    """All settings of a server.

    Use `Settings.from_environ`, which validates. The constructor takes values of the right types
    and checks nothing, which suits tests.
    """

    host: str = _row("127.0.0.1", _HOST, "Address to listen on; 0.0.0.0 or :: = all addresses.")
    port: int = _row("8080", _PORT, "Port to listen on; 0 = any free port, printed at the start.")
    base_url: str = _row(
        "", _BASE_URL, "instanceData.baseUrl of every frame; made from host and port if not set."
    )
    data_dir: Path = _row("./ryze-data", _DIRECTORY, "Directory of the database and the key file.")
    database_url: str = _row(
        "",
        _DATABASE_URL,
        "Database URL; sqlite:///<data dir>/ryze.db if not set.",
        show=mask_url_password,
    )
    account_token: str = _row(
        "",
        _ACCOUNT_TOKEN,
        "TokenAccount that the account default gets at the start; a new one at the first start if"
        " not set.",
        show=mask,
    )
    encryption_key: str = _row(
        "",
        _ENCRYPTION_KEY,
        "Key that encrypts the instance tokens in the database (new,old during a rotation);"
        " a key file in the data directory if not set.",
        show=mask,
    )
    global_rate_limit: limits.RateLimitItem | None = _row(
        "100/minute",
        _RATE_LIMIT,
        "Requests per token, upgrades of subscribers included; empty = off.",
    )
    create_rate_limit: limits.RateLimitItem | None = _row(
        "20/minute", _RATE_LIMIT, "New instances per token; empty = off."
    )
    publish_rate_limit: limits.RateLimitItem | None = _row(
        "", _RATE_LIMIT, "Publish requests and producer WebSockets per token; empty = off."
    )
    allowed_origins: tuple[str, ...] = _row(
        "",
        _ORIGINS,
        "Origins of web pages that may call, separated by commas; * = any.",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = _row(
        "", _NETWORKS, "Proxies whose X-Forwarded-For and -Proto are trusted, separated by commas."
    )
    client_buffer_messages: int = _row(
        "256", _number(1), "Messages that may be pending for one subscriber; one more evicts it."
    )
    client_buffer_bytes: int = _row(
        "67108864", _number(1), "Bytes that may be pending for one subscriber; more evict it."
    )
    ping_interval_seconds: float = _row("30", _seconds(), "Interval between pings of a WebSocket.")
    pong_timeout_seconds: float = _row(
        "60",
        _seconds(),
        "Silence after which a WebSocket is closed; must exceed the ping interval.",
    )
    max_connections: int = _row("0", _number(0), "WebSocket connections in total; 0 = no cap.")
    max_connections_per_instance: int = _row(
        "0", _number(0), "WebSocket connections per instance; 0 = no cap."
    )
    # Enough for any proxy and its producers. All other descriptors are left for WebSockets.
    max_http_connections: int = _row(
        "1000",
        _number(0),
        "HTTP connections in total; one more closes the longest idle; 0 = no cap.",
    )
    max_body_bytes: int = _row(
        "33554432",
        _number(1),
        "Largest request body (of a stream: line), and message of a producer WebSocket.",
    )
    max_frame_bytes: int = _row(
        "0", _number(0), "Events with larger frames lose their media.base64; 0 = no limit."
    )
    compression: bool = _row(
        "off", _ON_OFF, "Agree on permessage-deflate with subscribers that offer it."
    )
    drain_seconds: float = _row("10", _seconds(zero=True), "Time limit of the drain at a shutdown.")
    tls_cert: Path | None = _row(
        "", _FILE, "TLS certificate chain (PEM file); needs the key as well."
    )
    tls_key: Path | None = _row(
        "", _FILE, "TLS private key (PEM file); needs the certificate as well."
    )
    metrics: bool = _row(
        "on", _ON_OFF, "Serve /metrics (Prometheus) to anyone who can reach the port."
    )
    log_level: str = _row(
        "info", _choice("debug", "info", "warning", "error"), "Lowest level that is logged."
    )
    log_format: str = _row(
        "auto",
        _choice("auto", "console", "json"),
        "Format of the log; auto = console on a terminal, JSON lines otherwise.",
    )
    handshake_timeout_seconds: float = _row(
        "10", _seconds(), "Time from accepting a connection to its complete request head."
    )
    close_grace_seconds: float = _row(
        "2",
        _seconds(zero=True),
        "Time for a peer to read what is pending and complete the closing handshake.",
    )
    max_client_message_bytes: int = _row(
        "65536", _number(1), "Largest WebSocket message that a subscriber may send."
    )
    max_header_bytes: int = _row("16384", _number(1024), "Largest request head.")
    # Longer than the 60 s for which nginx and most load balancers keep idle connections: else one
    # sends a request now and then on a connection that we are closing.
    keep_alive_seconds: float = _row(
        "65",
        _seconds(),
        "Idle time after which an HTTP connection is closed; set it above the balancer's.",
    )
    body_timeout_seconds: float = _row(
        "60", _seconds(), "Time limit of a request body (of a stream: of the next line)."
    )

    def __post_init__(self) -> None:
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.data_dir / 'ryze.db'}")

    def __repr__(self) -> str:
        shown = (row.repr_of(getattr(self, row.name)) for row in all_settings())
        return f"Settings({', '.join(shown)})"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **overrides: object) -> "Settings":
        """Parse and validate ``RYZE_*`` variables.

        Args:
            environ: the variables; unknown ones are ignored.
            overrides: by attribute, win over the variables; texts or plain values.

        Raises:
            SettingsError: a value is invalid.
            TypeError: an override has an unknown name.
        """
        texts = {row.name: environ.get(row.variable, row.default) for row in all_settings()}
        if unknown := overrides.keys() - texts.keys():
            raise TypeError(f"unknown setting: {', '.join(sorted(unknown))}")
        texts |= {name: _as_text(value) for name, value in overrides.items()}
        settings = cls(**{row.name: row.read(texts[row.name]) for row in all_settings()})
        _check_together(settings)
        return settings

    def with_address(self, host: str, port: int) -> "Settings":
        """Return the same settings with the base URL filled in from the bound address.

        A configured base URL stays. Wildcard addresses cannot be connected to and become
        ``localhost``.
        """
        if self.base_url:
            return self
        shown = "localhost" if host in ("", "0.0.0.0", "::") else host
        # The `%` of an IPv6 zone is %25 in a URL (RFC 6874).
        shown = f"[{shown.replace('%', '%25')}]" if ":" in shown else shown
        scheme = "https" if self.tls_cert else "http"
        return replace(self, base_url=f"{scheme}://{shown}:{port}")


def _settings_of(cls: type[Settings]) -> tuple[Setting, ...]:
    return tuple(Setting(name=row.name, **row.metadata) for row in fields(cls))


_SETTINGS = {row.name: row for row in _settings_of(Settings)}


def all_settings() -> tuple[Setting, ...]:
    """Return the rows of the table, in the order of the documentation."""
    return tuple(_SETTINGS.values())


def _as_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "on" if value else "off"
        case tuple() | list():
            return ",".join(map(str, cast("Iterable[object]", value)))
        case _:
            return str(value)


def _check_together(settings: Settings) -> None:
    if settings.pong_timeout_seconds <= settings.ping_interval_seconds:
        raise _SETTINGS["pong_timeout_seconds"].invalid(
            f"{settings.pong_timeout_seconds:g}",
            f"more than RYZE_PING_INTERVAL_SECONDS, which is {settings.ping_interval_seconds:g}",
        )
    if settings.tls_cert and not settings.tls_key:
        raise _SETTINGS["tls_key"].invalid("", "a file, because RYZE_TLS_CERT is set")
    if settings.tls_key and not settings.tls_cert:
        raise _SETTINGS["tls_cert"].invalid("", "a file, because RYZE_TLS_KEY is set")
    _check_readable("tls_cert", settings.tls_cert)
    _check_readable("tls_key", settings.tls_key)


def _check_readable(name: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.open("rb").close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise _SETTINGS[name].invalid(str(path), f"a readable file ({reason})") from error
