"""The Quart application: routes, what runs before and after each handler, error handlers."""

from quart import Response, request
from quart_trio import QuartTrio

from ryze.api import authorization, cors, request_log
from ryze.api.authorization import Scope, requires
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

__all__ = ["BLUEPRINTS", "create_app"]

#: All routes of the HTTP API; those of metrics can be turned off.
BLUEPRINTS = tuple(
    module.blueprint
    for module in (websocket_config, instances, instance_settings, publish, health, docs, metrics)
)


def create_app(services: Services) -> QuartTrio:
    """Make the HTTP application of a server."""
    app = QuartTrio("ryze", static_folder=None)
    app.asgi_http_class = StreamingConnection
    app.request_class = StreamingRequest
    app.extensions["ryze"] = services
    app.config["MAX_CONTENT_LENGTH"] = services.settings.max_body_bytes
    app.config["BODY_TIMEOUT"] = services.settings.body_timeout_seconds
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.before_request(request_log.start_timer)
    app.before_request(cors.respond_to_preflight)
    app.before_request(authorization.authorize_request)
    app.after_request(cors.add_cors_headers)
    app.after_request(authorization.add_rate_limit_headers)
    app.after_request(request_log.log_request)
    register_error_handlers(app)
    _add_routes(app, with_metrics=services.settings.metrics)
    return app


def _add_routes(app: QuartTrio, *, with_metrics: bool) -> None:
    """Add all routes; upgrades do not reach this application."""
    # A redirect would be a response of another shape.
    app.url_map.merge_slashes = False
    for blueprint in BLUEPRINTS:
        if with_metrics or blueprint is not metrics.blueprint:
            app.register_blueprint(blueprint)
    app.add_url_rule("/ws/<path:name>", view_func=_refuse_method, methods=_NOT_GET)


_NOT_GET = ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


@requires(Scope.PUBLIC)
async def _refuse_method(name: str) -> Response:
    """Refuse a WebSocket path with a method other than GET, the only one of an upgrade."""
    if "Upgrade" in request.headers:
        raise ApiError(INVALID_HANDSHAKE)
    raise ApiError(METHOD_NOT_ALLOWED, headers={"Allow": "GET"})
