"""The answers of every HTTP route: one shape for success, one for errors (contract, section 1)."""

from typing import TypeVar

import msgspec
import structlog
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from ryze.errors import (
    DATABASE_FAILED,
    INTERNAL_SERVER_ERROR,
    INVALID_BODY,
    ApiError,
    ErrorKind,
    StoreError,
    error_body,
)

__all__ = ["read_body", "read_json", "register_error_handlers", "success"]

_log = structlog.get_logger("ryze.http")

_T = TypeVar("_T")


def success(message: str, status: int = 200, **resource: object) -> Response:
    """``{"success": true, "message": ..., <resource>}``, keys in that order."""
    return _json(msgspec.json.encode({"success": True, "message": message, **resource}), status)


async def read_body(mimetype: str) -> bytes:
    """The request's body, which says that it is of this media type.

    Raises:
        ApiError: 400, it says something else.
        RequestEntityTooLarge: it is over the limit; answered with 413.
        RequestTimeout: it does not come to its end; answered with 408.
    """
    if request.mimetype != mimetype:
        raise ApiError(INVALID_BODY)
    return await request.get_data(cache=True, as_text=False, parse_form_data=False)


async def read_json(kind: type[_T]) -> _T:
    """The request's body as a `kind` (a msgspec struct).

    Raises:
        ApiError: 400, whatever is wrong with it; see also `read_body`.
    """
    body = await read_body("application/json")
    try:
        # msgspec passes over fields that it does not know without a look at their text.
        body.decode()
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(INVALID_BODY) from error


def register_error_handlers(app: QuartTrio) -> None:
    """Whatever goes wrong on whatever route is answered in the one error shape."""
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
    # The one place for an HTTP request: a bug ends this request and no other.
    _log.error("request failed", path=request.path, exc_info=error)
    return await _api_error(ApiError(INTERNAL_SERVER_ERROR))
