"""CORS of the HTTP API: preflights, and the headers of responses (see `ryze.access.origins`)."""

from collections.abc import Iterable

from quart import Response, request
from werkzeug.exceptions import MethodNotAllowed

from ryze.access.origins import cors_headers, is_allowed
from ryze.api.services import services
from ryze.errors import ORIGIN_NOT_ALLOWED, ApiError

__all__ = ["add_cors_headers", "answer_preflight"]

_REQUEST_HEADERS = "Content-Type, Authorization, token"

# How long a browser may remember the answer to a preflight, instead of asking before every
# request: so long a change of the setting can go unnoticed.
_MAX_AGE_SECONDS = 600


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
