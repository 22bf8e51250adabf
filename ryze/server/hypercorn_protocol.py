"""Hypercorn's HTTP/1.1 protocol with our rules for request heads.

Requests go to Quart as in Hypercorn, except that a ``GET /ws/...`` raises `UpgradeRequested`
instead: the request comes from the HTTP parser, so an upgrade works wherever a request can start
(first, kept alive, pipelined), and never inside a body. HTTP/2 is not offered (no h2c, no prior
knowledge): browsers would tunnel WebSockets through it.
"""

from typing import Any, NamedTuple

import h11
import structlog
from hypercorn.events import Closed
from hypercorn.protocol.h11 import H11Protocol

from ryze.errors import ErrorKind, error_body
from ryze.http_head import header, in_origin_form, is_websocket_target
from ryze.server.trusted_proxies import TrustedProxies

__all__ = ["HttpProtocol", "Upgrade", "UpgradeRequested"]

_log = structlog.get_logger("ryze.http")


class Upgrade(NamedTuple):
    """A request for a WebSocket.

    Args:
        request: the complete request head.
        trailing: the bytes received after it.
    """

    request: h11.Request
    trailing: bytes


class UpgradeRequested(Exception):
    """The connection stops being HTTP: the peer asks for a WebSocket."""

    def __init__(self, upgrade: Upgrade) -> None:
        super().__init__(upgrade)
        self.upgrade = upgrade


class HttpProtocol(H11Protocol):
    """Protocol of one HTTP connection; raises `UpgradeRequested` from `handle`.

    Args:
        args: see `H11Protocol`.
        proxies: whose forwarding headers are believed.
    """

    # Not replaced by Hypercorn's WebSocket state, as upgrades never reach it.
    connection: h11.Connection

    def __init__(self, *args: Any, proxies: TrustedProxies) -> None:
        super().__init__(*args)
        self._proxies = proxies
        # Of the connection itself; the requests of a proxy come from many clients.
        self._peer = self.client or ("", 0)
        self._is_tls = self.ssl

    async def send_error_response(self, status_code: int) -> None:
        """Refuse the bytes received, which are not a request that we serve."""
        error = ErrorKind.of_status(status_code)
        _log.debug("refused", client=self._peer[0], status=error.status, reason=error.reason)
        body = error_body(error.message)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    # Methods that Hypercorn calls.

    async def _send_error_response(self, status_code: int) -> None:
        await self.send_error_response(status_code)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Look for WebSockets where Hypercorn looks for HTTP/2."""
        request = in_origin_form(event)
        if is_websocket_target(request):
            raise UpgradeRequested(Upgrade(request, bytes(self.connection.trailing_data[0])))

    async def _create_stream(self, request: h11.Request) -> None:
        """Hand a request to Quart as plain HTTP, with a path.

        Hypercorn would serve an upgrade to WebSocket itself, on any path, if it saw the
        ``Connection`` header; Quart fails on a target without a path.
        """
        if _head_size(request) > self.config.h11_max_incomplete_size:
            await self._refuse(431)
            return
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
            # Two lengths: a proxy may believe the other one (RFC 9112, section 6.1).
            await self._refuse(400)
            return
        request = in_origin_form(request)
        self._apply_forwarding_headers(request)
        target = request.target
        plain = h11.Request(
            method=request.method,
            target=target if target.startswith(b"/") else b"/" + target,
            headers=[(name, value) for name, value in request.headers if name != b"connection"],
            http_version=request.http_version,
        )
        await super()._create_stream(plain)

    async def _refuse(self, status_code: int) -> None:
        await self.send_error_response(status_code)
        await self.send(Closed())

    def _apply_forwarding_headers(self, request: h11.Request) -> None:
        """Set client address and scheme of this request for the application."""
        peer, port = self._peer
        address = self._proxies.client(peer, header(request, b"x-forwarded-for"))
        self.client = (address, port)
        # The last of several is that of our own peer, the only one that can be trusted.
        scheme = header(request, b"x-forwarded-proto").rpartition(",")[2].strip().lower()
        is_forwarded = scheme in ("http", "https") and self._proxies.trusts(peer)
        self.ssl = scheme == "https" if is_forwarded else self._is_tls


def _head_size(request: h11.Request) -> int:
    """Return the bytes of a request head; h11 checks the size of incomplete heads only."""
    line = len(request.method) + len(request.target) + len(b"  HTTP/1.1\r\n\r\n")
    return line + sum(len(name) + len(value) + len(b": \r\n") for name, value in request.headers)
