"""Health: for who has no token and asks often."""

from datetime import UTC, datetime, timedelta

import pytest
from trio.testing import MockClock

from ryze.errors import StoreError
from tests.conftest import Server


async def test_all_is_well(server: Server, mock_clock: MockClock) -> None:
    mock_clock.jump(1.5)
    answer = await server.request("GET", "/health", token=None)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["status", "service", "uptime", "timestamp", "checks"]
    assert answer.json["status"] == "ok"
    assert answer.json["service"] == "ryze"
    assert answer.json["uptime"] == 1.5
    assert answer.json["checks"] == {"database": "ok", "gateway": "ok"}
    assert answer.json["timestamp"].endswith("Z")
    timestamp = datetime.fromisoformat(answer.json["timestamp"])
    assert abs(datetime.now(UTC) - timestamp) < timedelta(minutes=1)


async def test_without_its_database_it_is_degraded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(server.services.database, "read", fail)
        answer = await server.request("GET", "/health", token=None)
    assert (answer.status, answer.json["status"]) == (503, "degraded")
    assert answer.json["checks"] == {"database": "failed", "gateway": "ok"}
    assert (await server.request("GET", "/health")).status == 200


async def test_a_wrong_token_is_no_matter(server: Server) -> None:
    assert (await server.request("GET", "/health", token="wrong")).status == 200
