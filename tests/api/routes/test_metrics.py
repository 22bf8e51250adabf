"""The route /metrics: format, access, and no name of an instance or token in it."""

import limits
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)

from tests.conftest import Server, StartServer


async def test_openmetrics_is_negotiated(server: Server, demo: str) -> None:
    await server.try_to_connect(headers={"token": "wrong"})
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    response = await server.request("GET", "/metrics", token=None, headers=accept)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    kinds = {family.name: family.type for family in parse_openmetrics(response.body.decode())}
    assert kinds["ryze_client_pending_events"] == "gaugehistogram"
    assert kinds["ryze_upgrades_refused"] == "counter"


async def test_no_instance_and_no_token_is_named(server: Server) -> None:
    token = await server.create("the-name-of-somebody")
    await server.connect("the-name-of-somebody")
    await server.try_to_connect("/ws/the-name-of-nobody")
    await server.try_to_connect(f"/ws/x?token={token}", {"token": None})
    text = (await server.request("GET", "/metrics", token=None)).body.decode()
    assert "ryze_connections" in text
    assert not [secret for secret in ("the-name-of", token, "account-token") if secret in text]


async def test_metrics_need_no_token_and_are_not_rate_limited(start_server: StartServer) -> None:
    server = await start_server(global_rate_limit=limits.parse("1/minute"))
    for token in (None, "wrong", "account-token"):
        response = await server.request("GET", "/metrics", token=token)
        assert response.status == 200
        assert "x-ratelimit-limit" not in response.headers
    assert (await server.request("HEAD", "/metrics", token=None)).status == 200
    assert (await server.request("GET", "/api/instance/list")).rate_limit == (1, 0)


async def test_metrics_can_be_turned_off(start_server: StartServer) -> None:
    server = await start_server(metrics=False)
    assert (await server.request("GET", "/metrics")).error == (404, "Not found")
