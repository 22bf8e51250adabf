"""HTTP: what comes in at the one port, and the routes of the API.

accepting         takes connections, as long as there are descriptors
front_door        what a connection wants: /ws/ to the gateway, everything else to Quart
http_connection   one HTTP connection, on Hypercorn's protocol
auth, rate_limit  what every request passes before its handler
forwarded         the client's address when proxies stand between
access_log        a line for each request
cors              which web pages may call from a browser
responses         the one shape of success, and the one of errors
streams           request bodies that need not end
lines, form       what a body of many events, or one with a file, consists of
upgrade           the checks before a WebSocket
one module for each resource: websocket_config, instances, instance_settings, publish, health,
docs, metrics
schema            what docs shows, made from the routes and types
collector         what /metrics tells, and where the figures are
services          what the handlers work with
"""

from quart import Response, request
from quart_trio import QuartTrio

from ryze.api import authorization as auth
from ryze.api import cors
from ryze.api import request_log as access_log
from ryze.api.responses import register_error_handlers
from ryze.api.routes import (
    docs,
    health,
    instance_settings,
    instances,
    metrics,
    publish,
    websocket_config,
)
from ryze.api.services import Services
from ryze.api.streamed_body import StreamingConnection, StreamingRequest
from ryze.errors import INVALID_HANDSHAKE, METHOD_NOT_ALLOWED, ApiError

__all__ = ["add_routes", "create_app"]


def create_app(services: Services) -> QuartTrio:
    """The HTTP application of a server."""
    app = QuartTrio("ryze", static_folder=None)
    app.asgi_http_class = StreamingConnection
    app.request_class = StreamingRequest
    app.extensions["ryze"] = services
    app.config["MAX_CONTENT_LENGTH"] = services.settings.max_body_bytes
    app.config["BODY_TIMEOUT"] = services.settings.body_timeout_seconds
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.before_request(access_log.begin)
    app.before_request(cors.answer_preflight)
    app.before_request(auth.admit)
    app.after_request(cors.add_cors_headers)
    app.after_request(auth.add_rate_limit_headers)
    app.after_request(access_log.log_request)
    register_error_handlers(app)
    add_routes(app, with_metrics=services.settings.metrics)
    app.add_url_rule("/ws/<path:name>", view_func=_not_an_upgrade, methods=_NOT_GET)
    return app


def add_routes(app: QuartTrio, *, with_metrics: bool = True) -> None:
    """Every route but those of WebSockets, which are the gateway's."""
    # A redirect would be an answer of another shape.
    app.url_map.merge_slashes = False
    for module in (websocket_config, instances, instance_settings, publish, health, docs):
        app.register_blueprint(module.blueprint)
    if with_metrics:
        app.register_blueprint(metrics.blueprint)


_NOT_GET = ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


async def _not_an_upgrade(name: str) -> Response:
    """A WebSocket path with another method than GET, which alone reaches the gateway."""
    if "Upgrade" in request.headers:
        raise ApiError(INVALID_HANDSHAKE)
    raise ApiError(METHOD_NOT_ALLOWED, headers={"Allow": "GET"})
