"""Which web pages may call the API from a browser, and the headers that tell it (CORS).

Theory. A browser keeps answers from a page of another origin unless their headers name it, and
before most requests it asks whether it may send them at all: the preflight. Both need the
setting ``RYZE_ALLOWED_ORIGINS``; without it no page but our own may do anything. Upgrades know no
CORS: there the server has to look at the origin itself (`upgrade`; RFC 6455, section 10.2).

Tokens are sent by the page, in a header that only a preflight lets pass, never by the browser:
there are no cookies and no credentials here, so a foreign page has nothing to abuse.
"""

from collections.abc import Collection, Iterable

from quart import Response, request
from werkzeug.exceptions import MethodNotAllowed

from ryze.api.services import services
from ryze.errors import ORIGIN_NOT_ALLOWED, ApiError

__all__ = ["add_cors_headers", "answer_preflight", "cors_headers", "is_allowed"]

_REQUEST_HEADERS = "Content-Type, Authorization, token"
_EXPOSED_HEADERS = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"

# How long a browser may remember the answer to a preflight, instead of asking before every
# request: so long a change of the setting can go unnoticed.
_MAX_AGE_SECONDS = 600


def is_allowed(origin: str, allowed: Collection[str]) -> bool:
    """May a page of this origin call? Compared without case, as settings are in lower case."""
    return "*" in allowed or origin.lower() in allowed


def cors_headers(origin: str, allowed: Collection[str]) -> dict[str, str]:
    """The headers of every answer, errors included.

    Args:
        origin: of the page that asks; empty if none is named.
        allowed: those of the setting.
    """
    if "*" in allowed:
        return {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
        }
    # Also where no origin is named, or a cache would hand that answer to a page.
    vary = {"Vary": "Origin"} if allowed else {}
    if not is_allowed(origin, allowed):
        return vary
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
        **vary,
    }


async def answer_preflight() -> Response | None:
    """Answer the current request if it is a preflight, which is not counted and needs no token.

    It is answered for unknown routes too, so that the page can read the 404 of its request.

    Raises:
        ApiError: 403, the page may not call.
    """
    origin, method = map(request.headers.get, ("Origin", "Access-Control-Request-Method"))
    if request.method != "OPTIONS" or origin is None or method is None:
        return None
    if not is_allowed(origin, services().settings.allowed_origins):
        raise ApiError(ORIGIN_NOT_ALLOWED)
    # An empty body, as Quart cannot send none on Trio; but no word of it in the headers:
    # Content-Length is forbidden here (RFC 9110, section 8.6).
    answer = Response(b"", 204)
    answer.headers.clear()
    answer.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
    answer.headers["Access-Control-Max-Age"] = str(_MAX_AGE_SECONDS)
    if methods := _methods():
        answer.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(methods))
    return answer


async def add_cors_headers(response: Response) -> Response:
    """To every answer, whatever came of the request."""
    origin = request.headers.get("Origin", "")
    response.headers.update(cors_headers(origin, services().settings.allowed_origins))
    return response


def _methods() -> Iterable[str]:
    """Those of the route that is asked for: no route takes OPTIONS itself."""
    error = request.routing_exception
    return error.valid_methods or () if isinstance(error, MethodNotAllowed) else ()
