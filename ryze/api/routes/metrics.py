"""Metrics for Prometheus (contract, section 1: no token, not counted).

They name no instance, no account and no token, but show how busy the server is: let only your
monitoring reach this path (the proxy configurations in docs/deploy/ close it).
"""

from prometheus_client.exposition import choose_encoder
from quart import Blueprint, Response, request

from ryze.api.authorization import Scope, requires
from ryze.api.services import services
from ryze.telemetry.metrics import metrics_registry

__all__ = ["blueprint"]

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@requires(Scope.OPEN)
async def metrics() -> Response:
    """Get the current value of all metrics, as OpenMetrics if the request accepts that."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(metrics_registry(services().metrics)), 200, content_type=content_type)
