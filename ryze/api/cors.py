"""CORS of the HTTP API: preflights, and the headers of responses (see `ryze.access.origins`)."""

from collections.abc import Iterable

from quart import Response, request
from werkzeug.exceptions import MethodNotAllowed

from ryze.access.origins import cors_headers, is_allowed
from ryze.api.services import services
from ryze.errors import ORIGIN_NOT_ALLOWED, ApiError

__all__ = ["add_cors_headers", "respond_to_preflight"]

_REQUEST_HEADERS = "Content-Type, Authorization, token"

# The time for which a browser may cache a preflight: a change of the setting can take as long to
# reach its pages.
_MAX_AGE_SECONDS = 600


async def respond_to_preflight() -> Response | None:
    """Respond to the current request if it is a preflight, which needs no token and is not counted.

    Preflights of unknown routes are accepted too, so that the page can read the 404 of its request.

    Raises:
        ApiError: 403, the origin is not allowed.
    """
    origin, method = map(request.headers.get, ("Origin", "Access-Control-Request-Method"))
    if request.method != "OPTIONS" or origin is None or method is None:
        return None
    if not is_allowed(origin, services().settings.allowed_origins):
        raise ApiError(ORIGIN_NOT_ALLOWED)
    # An empty body, because Quart on Trio cannot send none; but without its Content-Length, which
    # is forbidden here (RFC 9110, section 8.6).
    response = Response(b"", 204)
    response.headers.clear()
    response.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
    response.headers["Access-Control-Max-Age"] = str(_MAX_AGE_SECONDS)
    if methods := _methods():
        response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(methods))
    return response


async def add_cors_headers(response: Response) -> Response:
    """Add the CORS headers to the response, errors included."""
    origin = request.headers.get("Origin", "")
    response.headers.update(cors_headers(origin, services().settings.allowed_origins))
    return response


def _methods() -> Iterable[str]:
    """Return the methods of the requested path; no route accepts OPTIONS itself."""
    error = request.routing_exception
    return error.valid_methods or () if isinstance(error, MethodNotAllowed) else ()
