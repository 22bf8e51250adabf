"""Metrics in Prometheus' form, for monitoring (contract, section 1: open, and not counted).

They name no instance, no account and no token, but they tell how busy the server is: let only
those who monitor it reach this path (the proxy configurations in docs/deploy/ close it).
"""

from prometheus_client.exposition import choose_encoder
from quart import Blueprint, Response, request

from ryze.api.authorization import Scope, access
from ryze.api.services import services
from ryze.telemetry.metrics import metrics_registry

__all__ = ["blueprint"]

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@access(Scope.OPEN)
async def metrics() -> Response:
    """All figures of this moment; as OpenMetrics if the request asks for that."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(metrics_registry(services().metrics)), 200, content_type=content_type)
