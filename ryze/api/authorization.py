"""Who may do what: tokens, and what a route asks for (contract, section 1).

Every request passes `admit` before its handler: it finds out whose token was sent, counts the
request, and refuses what may not go on. A route says what it needs with `access`; what no route
answers to (404, 405) is counted all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from quart import Response, current_app, g, request

from ryze.access.rate_limits import address_key
from ryze.access.tokens import Principal, authenticate, require_principal, sent_token
from ryze.api.services import services
from ryze.errors import DRAINING, INSTANCE_NOT_FOUND, ApiError
from ryze.records import Instance

__all__ = [
    "Scope",
    "access",
    "account_id",
    "add_rate_limit_headers",
    "admit",
    "instance",
    "own_instance",
    "readmit",
]

_F = TypeVar("_F", bound=Callable[..., object])


class Scope(Enum):
    """Which tokens a route takes."""

    # None at all, and no rate limit: for load balancers and monitoring.
    OPEN = auto()
    # None, but every request counts: against the token that came with it, else the address.
    PUBLIC = auto()
    # A TokenAccount only.
    ACCOUNT = auto()
    # A TokenAccount, or the TokenInstance of the instance in the path, if there is one.
    INSTANCE = auto()


@dataclass(frozen=True, slots=True)
class _Access:
    scope: Scope
    limit: str


# Of what is no route: it needs no token to be told so.
_NO_ROUTE = _Access(Scope.PUBLIC, "global")


def access(scope: Scope, limit: str = "global") -> Callable[[_F], _F]:
    """Declare what the decorated handler asks of a request.

    Args:
        scope: the tokens it takes.
        limit: the name of the rate limit that it counts against.
    """

    def mark(handler: _F) -> _F:
        handler.access = _Access(scope, limit)  # type: ignore[attr-defined]
        return handler

    return mark


async def admit() -> None:
    """Let the current request pass to its handler.

    Raises:
        ApiError: 401, 429, or 503 while the server shuts down.
    """
    asked = _asked()
    if asked.scope is Scope.OPEN:
        return
    g.principal = _principal(asked.scope)
    who = g.principal.token_hash if g.principal else address_key(request.remote_addr or "")
    g.window = services().rate_limits.hit(asked.limit, who)
    if services().drain.has_begun:
        raise ApiError(DRAINING)
    if asked.scope is not Scope.PUBLIC:
        require_principal(g.principal, g.window)
    elif g.window:
        g.window.check()


async def add_rate_limit_headers(response: Response) -> Response:
    """On every answer that was counted, whatever came of it."""
    if window := g.get("window"):
        response.headers.update(window.headers())
    return response


def account_id() -> int:
    """The account of the request's token."""
    principal: Principal = g.principal
    return principal.account_id


def own_instance() -> Instance | None:
    """The instance that the request's token is limited to; None for a TokenAccount."""
    principal: Principal = g.principal
    return principal.instance


def instance(name: str) -> Instance:
    """The instance of that name, which the request's token may use.

    Raises:
        ApiError: 404.
    """
    found = services().registry.find(account_id(), name)
    if found is None:
        raise ApiError(INSTANCE_NOT_FOUND)
    return found


def readmit(admitted: Instance) -> None:
    """May the token of a request that has lasted still use the instance?

    Raises:
        ApiError: 401, or 404 if it is gone, even if another one has its name now.
    """
    require_principal(_principal(Scope.INSTANCE), None)
    if instance(admitted.name).id != admitted.id:
        raise ApiError(INSTANCE_NOT_FOUND)


def _asked() -> _Access:
    handler = current_app.view_functions.get(request.endpoint or "")
    asked: _Access = getattr(handler, "access", _NO_ROUTE)
    return asked


def _principal(scope: Scope) -> Principal | None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    principal = authenticate(services().registry, sent_token(headers))
    if principal is None or (scope is Scope.ACCOUNT and principal.instance):
        return None
    name = (request.view_args or {}).get("name")
    return principal if name is None or principal.may_use(name) else None
