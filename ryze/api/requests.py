"""Reading the body of the current request."""

from typing import TypeVar

import msgspec
from quart import request

from ryze.errors import INVALID_BODY, ApiError

__all__ = ["read_body", "read_json"]

_T = TypeVar("_T")


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
