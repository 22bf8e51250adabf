"""One log line per HTTP request, at debug level: method, target, status and duration.

Not at info level: a producer sends hundreds of requests per second, and a line costs a good part
of the time of its request. The events of a WebSocket connection are logged by its server, at info
level.
"""

import structlog
import trio
from quart import Response, g, request

from ryze.masking import mask_query

__all__ = ["log_request", "start_timer"]

_log = structlog.get_logger("ryze.access")


async def start_timer() -> None:
    """Record when the current request began."""
    g.begun_at = trio.current_time()


async def log_request(response: Response) -> Response:
    """Log the current request with the status of its response."""
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
