"""Health check for load balancers and monitoring (contract, section 5)."""

from datetime import UTC, datetime
from typing import Literal

import trio
from quart import Blueprint, Response

from ryze.api.authorization import Scope, requires
from ryze.api.response_bodies import Health, HealthChecks
from ryze.api.responses import json_response
from ryze.api.services import services
from ryze.errors import StoreError
from ryze.store import ping

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@requires(Scope.OPEN)
async def health() -> Response:
    """Report 200 while requests and connections are accepted, else 503."""
    checks = HealthChecks(
        database=await _check_database(),
        gateway="draining" if services().drain.has_begun else "ok",
    )
    is_healthy = checks == HealthChecks(database="ok", gateway="ok")
    body = Health(
        status="ok" if is_healthy else "degraded",
        uptime=round(trio.current_time() - services().started_at, 3),
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        checks=checks,
    )
    return json_response(body, 200 if is_healthy else 503)


async def _check_database() -> Literal["ok", "failed"]:
    try:
        await services().database.read(ping)
    except StoreError:
        return "failed"
    return "ok"
