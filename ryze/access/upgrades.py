"""Admission of upgrade requests: all checks before a 101, in order (contract, section 4)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

import h11

from ryze.access.authentication import Principal, authenticate, require_principal, sent_token
from ryze.access.caps import ConnectionCaps
from ryze.access.drain_flag import DrainFlag
from ryze.access.origins import cors_headers, is_allowed, is_same_origin
from ryze.access.rate_limits import RateLimits, Window, address_key
from ryze.errors import (
    DRAINING,
    INSTANCE_NOT_FOUND,
    NOT_ENABLED,
    NOT_FOUND,
    ORIGIN_NOT_ALLOWED,
    TOO_MANY_CONNECTIONS,
    ApiError,
)
from ryze.http_head import WEBSOCKET_PATH, header
from ryze.hub.hub import Hub
from ryze.instances.registry import Registry
from ryze.records import Instance
from ryze.websocket.handshake import check_upgrade

__all__ = ["Admission", "UpgradeAdmission"]


@dataclass(frozen=True, slots=True)
class Admission:
    """Permission to open a WebSocket.

    Args:
        instance: the instance whose events the peer receives or publishes.
        token_hash: of the token that was sent; the hub ends the connection when it is revoked.
        headers: further headers for the 101, e.g. those of the rate limit.
        is_producer: the peer publishes events; otherwise it receives them.
    """

    instance: Instance
    token_hash: str
    headers: Mapping[str, str]
    is_producer: bool = False


class _Target(NamedTuple):
    """The parts of ``/ws/<name>[/publish][?<query>]``."""

    raw_name: str
    # Everything after the name; only "/publish" is known.
    suffix: str
    query: str

    @classmethod
    def parse(cls, target: bytes) -> "_Target":
        path, _, query = target.decode("latin-1").partition("?")
        raw_name, slash, rest = path.removeprefix(WEBSOCKET_PATH.decode()).partition("/")
        return cls(raw_name, slash + rest, query)

    @property
    def name(self) -> str:
        return unquote(self.raw_name)

    @property
    def is_producer(self) -> bool:
        return self.suffix == "/publish"

    @property
    def is_known(self) -> bool:
        return bool(self.raw_name) and (not self.suffix or self.is_producer)


class UpgradeAdmission:
    """Decides on upgrade requests.

    Args:
        registry: knows tokens and instances.
        rate_limits: an upgrade counts against "global", a producer's against "publish".
        allowed_origins: of pages in browsers, besides those of our own host.
        drain: refuse everything from its beginning on.
        caps: limits on open connections.
        hub: counts the connections per instance.
        count_websockets: returns the number of open WebSockets, closing ones included.
    """

    def __init__(
        self,
        registry: Registry,
        rate_limits: RateLimits,
        allowed_origins: tuple[str, ...],
        drain: DrainFlag,
        caps: ConnectionCaps,
        hub: Hub,
        count_websockets: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._rate_limits = rate_limits
        self._allowed_origins = frozenset(allowed_origins)
        self._drain = drain
        self._caps = caps
        self._hub = hub
        self._count_websockets = count_websockets

    def admit(self, request: h11.Request, address: str) -> Admission:
        """Run all checks; every attempt counts against a rate limit, refused or not.

        Not async: the hub must learn of the connection without a checkpoint in between, or a
        token that is revoked meanwhile would leave its connection behind.

        Args:
            request: the complete request head.
            address: of the client.

        Raises:
            ApiError: the upgrade is refused.
        """
        target = _Target.parse(request.target)
        principal = self._authenticate(request, target)
        window = self._count_attempt(target, principal, address)
        headers = window.headers() if window else {}
        try:
            admission = self._check(request, target, principal, window, headers)
        except ApiError as refusal:
            # Browsers apply CORS to a response that is not a 101.
            cors = cors_headers(header(request, b"origin"), self._allowed_origins)
            headers = {**headers, **cors, **refusal.headers}
            raise ApiError(refusal.kind, headers=headers) from refusal
        self._check_capacity(admission)
        return admission

    def _authenticate(self, request: h11.Request, target: _Target) -> Principal | None:
        headers = {key: header(request, key.encode()) for key in ("token", "authorization")}
        query_token = parse_qs(target.query).get("token", [""])[0]
        principal = authenticate(self._registry, sent_token(headers, query_token))
        return principal if principal and principal.may_use(target.name) else None

    def _count_attempt(
        self, target: _Target, principal: Principal | None, address: str
    ) -> Window | None:
        limit = "publish" if target.is_producer else "global"
        counted_as = principal.token_hash if principal else address_key(address)
        return self._rate_limits.hit(limit, counted_as)

    def _check(
        self,
        request: h11.Request,
        target: _Target,
        principal: Principal | None,
        window: Window | None,
        headers: Mapping[str, str],
    ) -> Admission:
        if not target.is_known:
            raise ApiError(NOT_FOUND)
        check_upgrade(request)
        self._check_origin(request)
        principal = require_principal(principal, window)
        instance = self._registry.find(principal.account_id, target.name)
        if instance is None:
            raise ApiError(INSTANCE_NOT_FOUND)
        if not target.is_producer:
            _check_enabled(instance)
        return Admission(instance, principal.token_hash, headers, target.is_producer)

    def _check_origin(self, request: h11.Request) -> None:
        origin = header(request, b"origin")
        if (
            origin
            and not is_allowed(origin, self._allowed_origins)
            and not is_same_origin(origin, header(request, b"host"))
        ):
            raise ApiError(ORIGIN_NOT_ALLOWED)

    def _check_capacity(self, admission: Admission) -> None:
        """Check the state of the server: the drain flag and the caps."""
        if self._drain.has_begun:
            raise ApiError(DRAINING, headers=admission.headers)
        of_instance = self._hub.connection_count(admission.instance.id)
        if not self._caps.has_websocket_room(self._count_websockets(), of_instance):
            raise ApiError(TOO_MANY_CONNECTIONS, headers=admission.headers)


def _check_enabled(instance: Instance) -> None:
    if instance.websocket is None or not instance.websocket.enabled:
        raise ApiError(NOT_ENABLED.for_instance(instance.name))
