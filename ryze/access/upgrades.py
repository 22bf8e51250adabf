"""Who may open a WebSocket: the checks before the upgrade, in order (contract, section 4)."""

from urllib.parse import parse_qs, unquote

import h11

from ryze.access.rate_limits import RateLimits, address_key
from ryze.access.tokens import Principal, authenticate, require_principal, sent_token
from ryze.api.cors import cors_headers, is_allowed
from ryze.errors import (
    INSTANCE_NOT_FOUND,
    NOT_ENABLED,
    NOT_FOUND,
    ORIGIN_NOT_ALLOWED,
    ApiError,
)
from ryze.instances.registry import Registry
from ryze.records import Instance
from ryze.websocket.handshake import WEBSOCKET_PATH, check_upgrade, header
from ryze.websocket.server import Admission

__all__ = ["UpgradeAdmission"]


class UpgradeAdmission:
    """Decides on upgrade requests; what the gateway is handed as its `admit`.

    Args:
        registry: knows tokens and instances.
        rate_limits: an upgrade counts against the global one, a publisher's against "publish".
        allowed_origins: of pages in browsers, besides those of the same host.
    """

    def __init__(
        self, registry: Registry, rate_limits: RateLimits, allowed_origins: tuple[str, ...]
    ) -> None:
        self._registry = registry
        self._rate_limits = rate_limits
        self._allowed_origins = frozenset(allowed_origins)

    def admit(self, request: h11.Request, address: str) -> Admission:
        """See `ryze.websocket.Admit`: every attempt is counted, whatever comes of it."""
        path, _, query = request.target.decode("latin-1").partition("?")
        raw_name, slash, role = path.removeprefix(WEBSOCKET_PATH.decode()).partition("/")
        name, publishes = unquote(raw_name), role == "publish"
        principal = self._principal(request, query, name)
        who = principal.token_hash if principal else address_key(address)
        window = self._rate_limits.hit("publish" if publishes else "global", who)
        headers = window.headers() if window else {}
        try:
            if not raw_name or (slash and not publishes):
                raise ApiError(NOT_FOUND)
            check_upgrade(request)
            self._check_origin(request)
            principal = require_principal(principal, window)
            instance = self._instance(principal, name)
            if not publishes:
                _check_enabled(instance)
        except ApiError as refusal:
            # Without an upgrade a page can read the answer.
            cors = cors_headers(header(request, b"origin"), self._allowed_origins)
            headers = {**headers, **cors, **refusal.headers}
            raise ApiError(refusal.kind, headers=headers) from refusal
        return Admission(instance, principal.token_hash, headers, publishes)

    def _principal(self, request: h11.Request, query: str, name: str) -> Principal | None:
        headers = {key: header(request, key.encode()) for key in ("token", "authorization")}
        query_token = parse_qs(query).get("token", [""])[0]
        principal = authenticate(self._registry, sent_token(headers, query_token))
        return principal if principal and principal.may_use(name) else None

    def _check_origin(self, request: h11.Request) -> None:
        origin = header(request, b"origin").lower()
        if not origin or is_allowed(origin, self._allowed_origins):
            return
        # Not urlsplit, which raises for some of what a client can send.
        if origin.partition("://")[2] != header(request, b"host").lower():
            raise ApiError(ORIGIN_NOT_ALLOWED)

    def _instance(self, principal: Principal, name: str) -> Instance:
        instance = self._registry.find(principal.account_id, name)
        if instance is None:
            raise ApiError(INSTANCE_NOT_FOUND)
        return instance


def _check_enabled(instance: Instance) -> None:
    if instance.websocket is None or not instance.websocket.enabled:
        raise ApiError(NOT_ENABLED.for_instance(instance.name))
