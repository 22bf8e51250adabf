"""Every setting, in one table.

A row of `Settings` says all there is to say about a setting: its name, its default, how its
text is read, what is expected of it, and what it is for. The flags of ``ryze serve``, the
validation and the table in the README are derived from these rows.

    python name                    port
    environment variable           RYZE_PORT
    flag of ``ryze serve``         --port

Rules:

- Every value comes in as text, from wherever it comes, and is read by the one parser of its row.
  Defaults are written as text too, and read by that same parser.
- An empty text means the default, except where the row says that empty is a value of its own
  (a rate limit that is empty is off).
- Nothing here looks at ``os.environ``; the command line passes it in.
"""

# `_row` is `dataclasses.field` with the default read from text, so calling it is no mistake.
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


# --- Kinds of values: how a text is read, and what to say when it cannot be ---


@dataclass(frozen=True)
class _Kind(Generic[_T]):
    """A sort of value. `read` raises `ValueError` for a text that is not one."""

    read: Callable[[str], _T]
    expected: str
    metavar: str
    # Whether an empty text is a value of its own, rather than a request for the default.
    takes_empty: bool = False


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
    # Looking at `port` is what checks it: it raises ValueError for one that is none.
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
    # Raises ValueError for a port that is none.
    _ = urlsplit(origin).port
    # As browsers send it.
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], ""))


def _read_origins(text: str) -> tuple[str, ...]:
    return tuple(_read_origin(part.strip()) for part in text.split(",") if part.strip())


def _read_rate_limit(text: str) -> limits.RateLimitItem | None:
    if not text:
        return None
    # `limits` reads the first of several and silently forgets the others.
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


_PORT = _Kind(_number(0, 65535).read, "a port, 0 to 65535 (0 = any free one)", "PORT")
_HOST = _Kind(_read_host, "a host name or an IP address", "HOST")
_BASE_URL = _Kind(_read_base_url, "an http:// or https:// URL without query", "URL", True)
_DATABASE_URL = _Kind(
    _read_database_url, "sqlite:///<path> or postgresql://<user>@<host>/<name>", "URL", True
)
_DIRECTORY = _Kind(Path, "a directory", "DIRECTORY")
_FILE = _Kind(_read_file, "a file", "FILE", True)
_ON_OFF = _Kind(_read_on_off, "on or off", "on|off")
_ORIGINS = _Kind(
    _read_origins, "* or scheme://host[:port], several of them with commas between", "ORIGINS", True
)
_NETWORKS = _Kind(
    _read_networks,
    "IP addresses or networks (10.0.0.0/8, without bits of hosts), with commas between",
    "NETWORKS",
    True,
)
_RATE_LIMIT = _Kind(
    _read_rate_limit, "one limit such as 100/minute, or nothing for none", "LIMIT", True
)
_ACCOUNT_TOKEN = _Kind(
    _read_account_token,
    "8 to 255 printable ASCII characters without spaces, so that it can be sent as a header",
    "TOKEN",
    True,
)
_ENCRYPTION_KEY = _Kind(
    _read_encryption_key,
    "32 bytes in base64 (try: openssl rand -base64 32), or several such keys with commas between",
    "KEY",
    True,
)


# --- How a value is shown ---


def _unmasked(text: str) -> str:
    return text


# --- The table ---


@dataclass(frozen=True)
class Setting:
    """One row of the table, as the command line and the README need it.

    Args:
        name: the python name, e.g. ``port``.
        kind: how its text is read.
        default: the default as text; empty where there is none.
        help: what it is for, in one sentence.
        show: what of a text may be shown; secrets become ``***``.
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
        """What stands for the value in a help text, e.g. ``PORT``."""
        return self.kind.metavar

    @property
    def expected(self) -> str:
        """What the value should look like, as the end of "expected ..."."""
        return self.kind.expected

    @property
    def is_secret(self) -> bool:
        """Whether the value must never be shown."""
        return self.show is mask

    def read(self, text: str) -> Any:
        """Turn a text into the value.

        Raises:
            SettingsError: it is not what this setting must be.
        """
        text = text.strip()
        if not text and not self.kind.takes_empty:
            text = self.default
        try:
            return self.kind.read(text)
        except ValueError:
            # The cause would show the value, and that may be a secret.
            raise self.wrong(text) from None

    def repr_of(self, value: object) -> str:
        """``name=value`` as in a repr, without secrets."""
        shown = value if self.show is _unmasked else self.show(_as_text(value))
        return f"{self.name}={shown!r}"

    def wrong(self, text: str, expected: str | None = None) -> SettingsError:
        """The error that says that `text` is not what this setting must be."""
        return SettingsError(self.variable, self.show(text), expected or self.expected)


def _row(default: str, kind: _Kind[_T], help: str, *, show: Callable[[str], str] = _unmasked) -> _T:
    metadata = {"kind": kind, "default": default, "help": help, "show": show}
    return field(default=kind.read(default), metadata=metadata)


@dataclass(frozen=True, repr=False)
class Settings:
    """All settings of a server. Build one with `Settings.from_environ`.

    Built directly it takes values of the right types and checks nothing, which suits tests.
    """

    host: str = _row("127.0.0.1", _HOST, "Address to listen on; 0.0.0.0 or :: = every one.")
    port: int = _row("8080", _PORT, "Port to listen on; 0 = any free one, printed at the start.")
    base_url: str = _row(
        "", _BASE_URL, "What every frame says in instanceData.baseUrl; made of host and port."
    )
    data_dir: Path = _row("./ryze-data", _DIRECTORY, "Where the database and the key file are.")
    database_url: str = _row(
        "",
        _DATABASE_URL,
        "The database; sqlite:///<data dir>/ryze.db if not given.",
        show=mask_url_password,
    )
    account_token: str = _row(
        "",
        _ACCOUNT_TOKEN,
        "Make sure that an account with this TokenAccount exists after the start.",
        show=mask,
    )
    encryption_key: str = _row(
        "",
        _ENCRYPTION_KEY,
        "Seals the instance tokens in the database (new,old while rotating); a key file in the"
        " data directory if not given.",
        show=mask,
    )
    global_rate_limit: limits.RateLimitItem | None = _row(
        "100/minute",
        _RATE_LIMIT,
        "Requests of one token, clients' WebSocket upgrades too; empty = off.",
    )
    create_rate_limit: limits.RateLimitItem | None = _row(
        "20/minute", _RATE_LIMIT, "New instances of one token; empty = off."
    )
    publish_rate_limit: limits.RateLimitItem | None = _row(
        "", _RATE_LIMIT, "Publish requests and publisher WebSockets of one token; empty = off."
    )
    allowed_origins: tuple[str, ...] = _row(
        "", _ORIGINS, "Web pages that may call from a browser, with commas between; * = any."
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = _row(
        "", _NETWORKS, "Proxies whose X-Forwarded-For and -Proto count, with commas between."
    )
    client_buffer_messages: int = _row(
        "256", _number(1), "Messages that may wait for one client before it is dropped."
    )
    client_buffer_bytes: int = _row(
        "67108864", _number(1), "Bytes that may wait for one client before it is dropped."
    )
    ping_interval_seconds: float = _row("30", _seconds(), "How often every client is pinged.")
    pong_timeout_seconds: float = _row(
        "60", _seconds(), "How long a client may be silent; must be more than the ping interval."
    )
    max_connections: int = _row("0", _number(0), "WebSocket connections in all; 0 = no cap.")
    max_connections_per_instance: int = _row(
        "0", _number(0), "WebSocket connections of one instance; 0 = no cap."
    )
    # Enough for any proxy and its producers. Whoever fills it takes nothing from the WebSockets,
    # which have all other descriptors.
    max_http_connections: int = _row(
        "1000", _number(0), "HTTP connections in all; one more ends the longest idle; 0 = no cap."
    )
    max_body_bytes: int = _row(
        "33554432",
        _number(1),
        "The largest request body (of a stream: line), and the largest frame of a publisher.",
    )
    max_frame_bytes: int = _row(
        "0", _number(0), "An event whose frame is larger goes out without media.base64; 0 = never."
    )
    compression: bool = _row("off", _ON_OFF, "Offer permessage-deflate to clients that ask for it.")
    drain_seconds: float = _row(
        "10", _seconds(zero=True), "How long a shutdown may take to see clients off."
    )
    tls_cert: Path | None = _row("", _FILE, "Certificate chain (PEM); needs the key as well.")
    tls_key: Path | None = _row("", _FILE, "Private key (PEM); needs the certificate as well.")
    metrics: bool = _row(
        "on", _ON_OFF, "Answer /metrics (Prometheus) to everybody who can reach the port."
    )
    log_level: str = _row(
        "info", _choice("debug", "info", "warning", "error"), "How much is logged."
    )
    log_format: str = _row(
        "auto",
        _choice("auto", "console", "json"),
        "How it is logged; auto = console on a terminal, JSON lines otherwise.",
    )
    handshake_timeout_seconds: float = _row(
        "10", _seconds(), "From accepting a connection to a complete request head."
    )
    close_grace_seconds: float = _row(
        "2", _seconds(zero=True), "How long a peer has to take the rest and answer a close."
    )
    max_client_message_bytes: int = _row(
        "65536", _number(1), "The largest WebSocket message that a client may send."
    )
    max_header_bytes: int = _row("16384", _number(1024), "The largest request head.")
    # Longer than the 60 s for which nginx and most balancers keep idle connections to us: else
    # now and then one sends a request on a connection that we are just closing.
    keep_alive_seconds: float = _row(
        "65", _seconds(), "How long an idle HTTP connection is kept; more than the balancer does."
    )
    body_timeout_seconds: float = _row(
        "60", _seconds(), "How long a request body (of a stream: the next line) may take."
    )

    def __post_init__(self) -> None:
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.data_dir / 'ryze.db'}")

    def __repr__(self) -> str:
        shown = (row.repr_of(getattr(self, row.name)) for row in all_settings())
        return f"Settings({', '.join(shown)})"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **overrides: object) -> "Settings":
        """Build the settings from ``RYZE_*`` variables.

        Args:
            environ: the variables; unknown ones are left alone.
            overrides: by python name, win over the variables; texts or plain values.

        Raises:
            SettingsError: a value is not what it must be.
            TypeError: there is no setting of this name.
        """
        texts = {row.name: environ.get(row.variable, row.default) for row in all_settings()}
        if unknown := overrides.keys() - texts.keys():
            raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
        texts |= {name: _as_text(value) for name, value in overrides.items()}
        settings = cls(**{row.name: row.read(texts[row.name]) for row in all_settings()})
        _check_together(settings)
        return settings

    def with_address(self, host: str, port: int) -> "Settings":
        """The same settings with the base URL filled in, now that host and port are known.

        A base URL that was given stays. The addresses that mean "every address" cannot be
        connected to and become ``localhost``.
        """
        if self.base_url:
            return self
        shown = "localhost" if host in ("", "0.0.0.0", "::") else host
        # The `%` of an IPv6 zone is written %25 in a URL (RFC 6874).
        shown = f"[{shown.replace('%', '%25')}]" if ":" in shown else shown
        scheme = "https" if self.tls_cert else "http"
        return replace(self, base_url=f"{scheme}://{shown}:{port}")


def _settings_of(cls: type[Settings]) -> tuple[Setting, ...]:
    return tuple(Setting(name=row.name, **row.metadata) for row in fields(cls))


_SETTINGS = {row.name: row for row in _settings_of(Settings)}


def all_settings() -> tuple[Setting, ...]:
    """The rows of the table, in the order in which they are documented."""
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
        raise _SETTINGS["pong_timeout_seconds"].wrong(
            f"{settings.pong_timeout_seconds:g}",
            f"more than RYZE_PING_INTERVAL_SECONDS, which is {settings.ping_interval_seconds:g}",
        )
    if settings.tls_cert and not settings.tls_key:
        raise _SETTINGS["tls_key"].wrong("", "a file, because RYZE_TLS_CERT is set")
    if settings.tls_key and not settings.tls_cert:
        raise _SETTINGS["tls_cert"].wrong("", "a file, because RYZE_TLS_KEY is set")
    _check_readable("tls_cert", settings.tls_cert)
    _check_readable("tls_key", settings.tls_key)


def _check_readable(name: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.open("rb").close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise _SETTINGS[name].wrong(str(path), f"a readable file ({reason})") from error
