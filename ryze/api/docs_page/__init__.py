"""The files of the page at /docs: Swagger UI, our start script and our style.

Swagger UI's script and style come from a Python package: the page loads nothing from any other
server, and its Content-Security-Policy forbids it.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable

__all__ = ["FILES", "INDEX"]

_OURS = files("ryze.api.docs_page")
_SWAGGER_UI = files("flask_swagger_ui") / "dist"

#: The page.
INDEX = _OURS / "index.html"

#: The files that it loads by name, each with its content type.
FILES: dict[str, tuple[Traversable, str]] = {
    "icon.png": (_SWAGGER_UI / "favicon-32x32.png", "image/png"),
    "page.css": (_OURS / "page.css", "text/css; charset=utf-8"),
    "start.js": (_OURS / "start.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": (_SWAGGER_UI / "swagger-ui.css", "text/css; charset=utf-8"),
    "swagger-ui.js": (_SWAGGER_UI / "swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
}
