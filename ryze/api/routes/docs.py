"""Documentation served by the server itself: the OpenAPI and AsyncAPI documents, and a page.

All addresses in the page are relative to it, so it works under any host name, port and prefix. No
token is needed to read.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib.resources.abc import Traversable

import msgspec
import trio
from quart import Blueprint, Response, current_app

from ryze.api.authorization import Scope, requires
from ryze.api.docs_page import FILES, INDEX
from ryze.errors import NOT_FOUND, ApiError

__all__ = ["blueprint"]

blueprint = Blueprint("docs", __name__)

# People type a token into this page: no script, style or connection but those of this server.
# Swagger UI draws its arrows with `data:` images.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@blueprint.get("/openapi.json")
@requires(Scope.PUBLIC)
async def openapi_document() -> Response:
    """Get the HTTP routes as an OpenAPI document."""
    return await _serve_document(partial(_openapi, tuple(current_app.blueprints.values())))


@blueprint.get("/asyncapi.json")
@requires(Scope.PUBLIC)
async def asyncapi_document() -> Response:
    """Get the WebSocket channels as an AsyncAPI document."""
    return await _serve_document(_asyncapi)


@blueprint.get("/docs")
@requires(Scope.PUBLIC)
async def page() -> Response:
    """Get a page to read and try the API."""
    return await _serve_file(INDEX, "text/html; charset=utf-8")


@blueprint.get("/docs/<file>")
@requires(Scope.PUBLIC)
async def part(file: str) -> Response:
    """Get a script, style or picture of that page."""
    if file not in FILES:
        raise ApiError(NOT_FOUND)
    return await _serve_file(*FILES[file])


async def _serve_file(path: Traversable, content_type: str) -> Response:
    content = await trio.to_thread.run_sync(path.read_bytes)
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(content, headers=headers, content_type=content_type)


async def _serve_document(encode: Callable[[], bytes]) -> Response:
    # In a thread: the first call spends half a second importing quart-schema.
    document = await trio.to_thread.run_sync(encode)
    return Response(document, content_type="application/json")


# Both import what they need at the first call, because quart-schema would slow down every start
# (`test_start_does_not_import_quart_schema`).


@cache
def _openapi(blueprints: tuple[Blueprint, ...]) -> bytes:
    from ryze.api.openapi.document import openapi

    return msgspec.json.encode(openapi(blueprints))


@cache
def _asyncapi() -> bytes:
    from ryze.api.openapi.asyncapi import asyncapi

    return msgspec.json.encode(asyncapi())
