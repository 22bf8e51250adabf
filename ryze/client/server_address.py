"""Where a server is, and what it takes to be let in: the user's input, checked before it is used.

A URL is read once, into a `Server`; a token goes into a header, so it must fit into one.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from ryze.errors import RyzeError

__all__ = ["BadToken", "BadUrl", "Server", "header_value"]


class BadUrl(RyzeError):
    """The server's address is not an ``http://`` or ``https://`` URL."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is not an http:// or https:// URL")
        self.url = url


class BadToken(RyzeError):
    """The token holds something that cannot be sent in a header, or nothing at all."""

    def __init__(self) -> None:
        super().__init__("the token is not one: it must be printable ASCII without spaces")


@dataclass(frozen=True)
class Server:
    """Where a server is, read from its URL by `Server.at`."""

    tls: bool
    host: str
    port: int
    # Before every path, where the server is mounted under one; no slash at the end.
    prefix: str

    @classmethod
    def at(cls, url: str) -> "Server":
        """Read an ``http://`` or ``https://`` URL; ``ws://`` and ``wss://`` will do as well.

        Raises:
            BadUrl: it is not one.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            # What the resolver would stumble over: empty and endless labels.
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise BadUrl(url) from None
        known = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname
        if not known or re.search(r"[^\x21-\x7e]|[?#@]", url):
            raise BadUrl(url)
        tls = parts.scheme in ("https", "wss")
        default = 443 if tls else 80
        return cls(tls, parts.hostname or "", port or default, parts.path.rstrip("/"))

    def path(self, *parts: str) -> str:
        """The path of a resource, each part percent-encoded."""
        return self.prefix + "".join(f"/{quote(part, safe='')}" for part in parts)

    @property
    def authority(self) -> str:
        """Host and port as in a URL and a ``Host`` header; the usual port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"


def header_value(token: str) -> str:
    """The token as it is sent, without the spaces and line breaks around it.

    Raises:
        BadToken: it is not one.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", token.strip()):
        raise BadToken
    return token.strip()
