"""Authorization of HTTP requests: tokens, scopes and rate limits of routes (contract, section 1).

`authorize_request` runs before every handler: it authenticates the token, counts the request
against its rate limit, and refuses it if the route's scope does not include the token. A route
declares its scope with `requires`. Requests that match no route (404, 405) are counted too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

from quart import Response, current_app, g, request

from ryze.access.authentication import Principal, authenticate, require_principal, sent_token
from ryze.access.rate_limits import address_key
from ryze.api.services import services
from ryze.errors import DRAINING, INSTANCE_NOT_FOUND, ApiError
from ryze.records import Instance

__all__ = [
    "Scope",
    "account_id",
    "add_rate_limit_headers",
    "authorize_request",
    "find_instance",
    "own_instance",
    "recheck_access",
    "requires",
]

_F = TypeVar("_F", bound=Callable[..., object])


class Scope(Enum):
    """The tokens that a route accepts."""

    # No token, no rate limit: for load balancers and monitoring.
    OPEN = auto()
    # No token, but every request counts: against its token if it has a valid one, else its address.
    PUBLIC = auto()
    # A TokenAccount only.
    ACCOUNT = auto()
    # A TokenAccount, or a TokenInstance; if the path names an instance, that of this instance.
    INSTANCE = auto()


@dataclass(frozen=True, slots=True)
class _Requirement:
    scope: Scope
    limit: str


# Requests that match no route get their 404 or 405 without a token.
_NO_ROUTE = _Requirement(Scope.PUBLIC, "global")


def requires(scope: Scope, limit: str = "global") -> Callable[[_F], _F]:
    """Declare the scope of the decorated handler.

    Args:
        scope: the tokens that it accepts.
        limit: the name of the rate limit that its requests count against.
    """

    def mark(handler: _F) -> _F:
        handler.requirement = _Requirement(scope, limit)  # type: ignore[attr-defined]
        return handler

    return mark


async def authorize_request() -> None:
    """Authenticate, count and check the current request.

    Raises:
        ApiError: 401, 429, or 503 while the server drains.
    """
    requirement = _requirement()
    if requirement.scope is Scope.OPEN:
        return
    g.principal = _principal(requirement.scope)
    counted = g.principal.token_hash if g.principal else address_key(request.remote_addr or "")
    g.window = services().rate_limits.hit(requirement.limit, counted)
    if services().drain.has_begun:
        raise ApiError(DRAINING)
    if requirement.scope is not Scope.PUBLIC:
        require_principal(g.principal, g.window)
    elif g.window:
        g.window.check()


async def add_rate_limit_headers(response: Response) -> Response:
    """Add the rate limit headers to the response of every request that was counted."""
    if window := g.get("window"):
        response.headers.update(window.headers())
    return response


def account_id() -> int:
    """Return the account of the request's token."""
    principal: Principal = g.principal
    return principal.account_id


def own_instance() -> Instance | None:
    """Return the instance of the request's TokenInstance; None for a TokenAccount."""
    principal: Principal = g.principal
    return principal.instance


def find_instance(name: str) -> Instance:
    """Return the instance of this name in the account of the request's token.

    Raises:
        ApiError: 404, it does not exist.
    """
    found = services().registry.find(account_id(), name)
    if found is None:
        raise ApiError(INSTANCE_NOT_FOUND)
    return found


def recheck_access(instance: Instance) -> None:
    """Check that the token of a request that lasts may still use the instance.

    Raises:
        ApiError: 401, the token is void; 404, the instance was deleted, even if another one has
            its name now.
    """
    require_principal(_principal(Scope.INSTANCE), None)
    if find_instance(instance.name).id != instance.id:
        raise ApiError(INSTANCE_NOT_FOUND)


def _requirement() -> _Requirement:
    if request.endpoint is None:
        return _NO_ROUTE
    # A handler without `requires` is a bug: it fails, instead of being open to everybody.
    handler: Any = current_app.view_functions[request.endpoint]
    requirement: _Requirement = handler.requirement
    return requirement


def _principal(scope: Scope) -> Principal | None:
    """Authenticate the request's token; None if it is not valid in this scope."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    principal = authenticate(services().registry, sent_token(headers))
    if principal is None or (scope is Scope.ACCOUNT and principal.instance):
        return None
    name = (request.view_args or {}).get("name")
    return principal if name is None or principal.may_use(name) else None
