"""A line for each HTTP request, at debug level: who asked what, and what came of it.

Not at info level: a producer posts its events, hundreds a second, and each line costs a good part
of what the request costs. What a WebSocket goes through is logged by the gateway, at info level.
"""

import structlog
import trio
from quart import Response, g, request

from ryze.masking import mask_query

__all__ = ["begin", "log_request"]

_log = structlog.get_logger("ryze.access")


async def begin() -> None:
    """Note when the current request has begun."""
    g.begun_at = trio.current_time()


async def log_request(response: Response) -> Response:
    """Write the line of the current request, whatever came of it."""
    _log.debug(
        "request",
        client=request.remote_addr,
        scheme=request.scheme,
        method=request.method,
        target=mask_query(request.full_path.removesuffix("?")),
        status=response.status_code,
        seconds=round(trio.current_time() - g.begun_at, 6),
    )
    return response
