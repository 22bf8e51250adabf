"""Read JSON requests, write JSON responses and errors: one shape of each (contract, section 1)."""

from typing import TypeVar

import msgspec
import structlog
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from ryze.api.response_bodies import Body
from ryze.errors import (
    DATABASE_FAILED,
    INTERNAL_SERVER_ERROR,
    INVALID_BODY,
    ApiError,
    ErrorKind,
    StoreError,
    error_body,
)

__all__ = ["json_response", "read_body", "read_json", "register_error_handlers"]

_log = structlog.get_logger("ryze.http")

_T = TypeVar("_T")


def json_response(body: Body, status: int = 200) -> Response:
    """Encode a response body, its keys in the order of the type's fields."""
    return _json(msgspec.json.encode(body), status)


async def read_body(mimetype: str) -> bytes:
    """Read the body of the current request, which must be of this media type.

    Raises:
        ApiError: 400, the request names another media type.
        RequestEntityTooLarge: it exceeds the limit; becomes a 413.
        RequestTimeout: it is not complete in time; becomes a 408.
    """
    if request.mimetype != mimetype:
        raise ApiError(INVALID_BODY)
    return await request.get_data(cache=True, as_text=False, parse_form_data=False)


async def read_json(kind: type[_T]) -> _T:
    """Read the body of the current request as a `kind` (a msgspec struct).

    Raises:
        ApiError: 400, for any fault of the body; see also `read_body`.
    """
    body = await read_body("application/json")
    try:
        # msgspec skips fields that it does not know without checking their UTF-8.
        body.decode()
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(INVALID_BODY) from error


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
