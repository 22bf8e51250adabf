"""The API described by the server itself: two documents, and a page to read and try it.

The page is Swagger UI, whose script and style come from a Python package: nothing is fetched from
anywhere but this server, and the page's own policy forbids it. All addresses in it are relative
to the page, so it works under whatever name and port people see. No token is needed to read.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec
import trio
from quart import Blueprint, Response

from ryze.api.authorization import Scope, access
from ryze.errors import ApiError

__all__ = ["PARTS", "blueprint"]

blueprint = Blueprint("docs", __name__)

_OURS = files("ryze.api") / "docs_page"
_SWAGGER_UI = files("flask_swagger_ui") / "dist"

#: What the page loads, and what it is.
PARTS: dict[str, tuple[Traversable, str]] = {
    "icon.png": (_SWAGGER_UI / "favicon-32x32.png", "image/png"),
    "page.css": (_OURS / "page.css", "text/css; charset=utf-8"),
    "start.js": (_OURS / "start.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": (_SWAGGER_UI / "swagger-ui.css", "text/css; charset=utf-8"),
    "swagger-ui.js": (_SWAGGER_UI / "swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
}

# A token is typed into this page: no script, style or connection but the server's own. Swagger UI
# draws its arrows with `data:` images.
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
@access(Scope.PUBLIC)
async def openapi_document() -> Response:
    """The HTTP routes, as an OpenAPI document."""
    return await _document(_openapi)


@blueprint.get("/asyncapi.json")
@access(Scope.PUBLIC)
async def asyncapi_document() -> Response:
    """The WebSocket channels, as an AsyncAPI document."""
    return await _document(_asyncapi)


@blueprint.get("/docs")
@access(Scope.PUBLIC)
async def page() -> Response:
    """A page to read and try the API."""
    return await _file(_OURS / "index.html", "text/html; charset=utf-8")


@blueprint.get("/docs/<file>")
@access(Scope.PUBLIC)
async def part(file: str) -> Response:
    """A script, style or picture of that page."""
    if file not in PARTS:
        raise ApiError(404, "Not found")
    return await _file(*PARTS[file])


async def _file(path: Traversable, content_type: str) -> Response:
    content = await trio.to_thread.run_sync(path.read_bytes)
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(content, headers=headers, content_type=content_type)


async def _document(make: Callable[[], bytes]) -> Response:
    # In a thread: the first time, half a second goes into importing what makes it.
    document = await trio.to_thread.run_sync(make)
    return Response(document, content_type="application/json")


@cache
def _openapi() -> bytes:
    from ryze.api.openapi.document import openapi

    return msgspec.json.encode(openapi())


@cache
def _asyncapi() -> bytes:
    from ryze.api.openapi.asyncapi import asyncapi

    return msgspec.json.encode(asyncapi())
