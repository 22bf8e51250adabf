"""Is this server well? For load balancers and monitoring (contract, section 5)."""

from datetime import UTC, datetime

import msgspec
import trio
from quart import Blueprint, Response

from ryze.api.authorization import Scope, access
from ryze.api.services import services
from ryze.errors import StoreError
from ryze.store import ping

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@access(Scope.OPEN)
async def health() -> Response:
    """200 if requests and clients are welcome, 503 if not."""
    checks = {
        "database": await _database_check(),
        "gateway": "draining" if services().drain.has_begun else "ok",
    }
    is_well = set(checks.values()) == {"ok"}
    body = {
        "status": "ok" if is_well else "degraded",
        "service": "ryze",
        "uptime": round(trio.current_time() - services().started_at, 3),
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "checks": checks,
    }
    encoded = msgspec.json.encode(body)
    return Response(encoded, 200 if is_well else 503, content_type="application/json")


async def _database_check() -> str:
    try:
        await services().database.read(ping)
    except StoreError:
        return "failed"
    return "ok"
