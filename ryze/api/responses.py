"""JSON responses and errors: one shape of each (contract, section 1)."""

import msgspec
import structlog
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from ryze.api.response_bodies import Body
from ryze.errors import (
    DATABASE_FAILED,
    INTERNAL_SERVER_ERROR,
    ApiError,
    ErrorKind,
    StoreError,
    error_body,
)

__all__ = ["json_response", "register_error_handlers"]

_log = structlog.get_logger("ryze.http")


def json_response(body: Body, status: int = 200) -> Response:
    """Encode a response body, its keys in the order of the type's fields."""
    return _json(msgspec.json.encode(body), status)


def register_error_handlers(app: QuartTrio) -> None:
    """Give every error of every route the same JSON shape."""
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(StoreError, _store_error)
    app.register_error_handler(Exception, _crash)


def _json(body: bytes, status: int) -> Response:
    return Response(body, status, content_type="application/json")


async def _api_error(error: ApiError) -> Response:
    response = _json(error_body(error.message), error.status)
    response.headers.update(error.headers)
    return response


async def _http_error(error: HTTPException) -> Response:
    kind = ErrorKind.of_status(error.code or 500)
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return await _api_error(ApiError(kind, headers=headers))


async def _store_error(error: StoreError) -> Response:
    _log.error("database failed", path=request.path, error=str(error))
    return await _api_error(ApiError(DATABASE_FAILED))


async def _crash(error: Exception) -> Response:
    # The only place that catches every exception of an HTTP request: a bug ends one request.
    _log.error("request failed", path=request.path, exc_info=error)
    return await _api_error(ApiError(INTERNAL_SERVER_ERROR))
