"""Health checks."""

from datetime import UTC, datetime, timedelta

import pytest
from trio.testing import MockClock

from ryze.errors import StoreError
from tests.conftest import Server


async def test_healthy_server_is_ok(server: Server, mock_clock: MockClock) -> None:
    mock_clock.jump(1.5)
    response = await server.request("GET", "/health", token=None)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert list(response.json) == ["status", "service", "uptime", "timestamp", "checks"]
    assert response.json["status"] == "ok"
    assert response.json["service"] == "ryze"
    assert response.json["uptime"] == 1.5
    assert response.json["checks"] == {"database": "ok", "gateway": "ok"}
    assert response.json["timestamp"].endswith("Z")
    timestamp = datetime.fromisoformat(response.json["timestamp"])
    assert abs(datetime.now(UTC) - timestamp) < timedelta(minutes=1)


async def test_failed_database_is_a_503(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(server.services.database, "read", fail)
        response = await server.request("GET", "/health", token=None)
    assert (response.status, response.json["status"]) == (503, "degraded")
    assert response.json["checks"] == {"database": "failed", "gateway": "ok"}
    assert (await server.request("GET", "/health")).status == 200


async def test_invalid_token_is_ignored(server: Server) -> None:
    assert (await server.request("GET", "/health", token="wrong")).status == 200
