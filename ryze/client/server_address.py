"""Address of a server and validation of tokens: user input, checked before it is used."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from ryze.errors import RyzeError

__all__ = ["BadToken", "BadUrl", "ServerAddress", "validate_token"]


class BadUrl(RyzeError):
    """The address of the server is not an ``http://`` or ``https://`` URL."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is not an http:// or https:// URL")
        self.url = url


class BadToken(RyzeError):
    """The token is empty, or cannot be sent in a header."""

    def __init__(self) -> None:
        # Without the token itself, which is a secret.
        super().__init__("invalid token: expected printable ASCII without spaces")


@dataclass(frozen=True)
class ServerAddress:
    """Address of a server, parsed from a URL by `ServerAddress.parse`.

    Args:
        tls: whether it is an ``https://`` address.
        host: name or IP address, without brackets.
        port: TCP port.
        prefix: path under which the server is mounted; without a trailing slash.
    """

    tls: bool
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, url: str) -> "ServerAddress":
        """Parse an ``http://`` or ``https://`` URL; ``ws://`` and ``wss://`` are accepted too.

        Raises:
            BadUrl: it is none of these.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            # The resolver would raise for empty and overlong labels.
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise BadUrl(url) from None
        known = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname
        if not known or re.search(r"[^\x21-\x7e]|[?#@]", url):
            raise BadUrl(url)
        tls = parts.scheme in ("https", "wss")
        default = 443 if tls else 80
        return cls(tls, parts.hostname or "", port or default, parts.path.rstrip("/"))

    def path(self, *segments: str) -> str:
        """Build the path of a resource; each segment is percent-encoded."""
        return self.prefix + "".join(f"/{quote(segment, safe='')}" for segment in segments)

    @property
    def authority(self) -> str:
        """Host and port as in a URL and a ``Host`` header, without the default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"


def validate_token(token: str) -> str:
    """Return the token as a header value, without surrounding white space.

    Raises:
        BadToken: it cannot be sent in a header.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", token.strip()):
        raise BadToken
    return token.strip()
