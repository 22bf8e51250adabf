"""Metrics: the documented ones, and figures that follow what happens."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import limits
import pytest
import quart
import trio
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families as parse
from trio.testing import wait_all_tasks_blocked

from ryze.api.authorization import Scope, requires
from ryze.errors import StoreError
from ryze.events.event import Event
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.telemetry.metrics import METRICS
from ryze.websocket.views import PLAIN
from tests.conftest import Server, StartServer, until
from tests.fakes import FakeTransport, make_instance
from tests.hub.harness import publish

EVENT = Event("call.update", b"{}")
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


async def scrape(server: Server) -> dict[str, float]:
    """Every sample by its name and the values of its labels."""
    response = await server.request("GET", "/metrics", token=None)
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in parse(response.body.decode())
        for sample in family.samples
    }


def differences(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the changed samples of ours, without durations."""
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name.startswith("ryze_")
        and not re.search("seconds|_bucket", name)
        and value != before.get(name, 0)
    }


def test_documented_metrics_are_the_exported_ones() -> None:
    rows = re.findall(r"^\| `(ryze_\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", DOCS.read_text(), re.M)
    assert rows == [
        (row.name, row.kind, ", ".join(f"`{label}`" for label in row.labels), row.help)
        for row in METRICS
    ]


async def test_documented_label_values_are_the_exported_ones(server: Server) -> None:
    rows = re.findall(r"^\| `(\w+)`(?: of `(ryze_\w+)`)? \| ([^|]*) \|$", DOCS.read_text(), re.M)
    documented = {(label, name): re.findall(r"`(\w+)`", values) for label, name, values in rows}
    exported = exported_label_values(await scrape_families(server))
    del documented["reason", "ryze_upgrades_refused_total"]
    assert documented == exported


def exported_label_values(families: Iterable[Metric]) -> dict[tuple[str, str], list[str]]:
    """Return the values by label and, for "reason", which several metrics have, by metric."""
    values: dict[tuple[str, str], dict[str, None]] = {}
    for family in families:
        for sample in family.samples:
            if family.name.startswith("ryze_"):
                for label in sample.labels.keys() - {"le", "version"}:
                    name = sample.name if label == "reason" else ""
                    values.setdefault((label, name), {})[sample.labels[label]] = None
    return {key: list(found) for key, found in values.items()}


async def scrape_families(server: Server) -> list[Metric]:
    response = await server.request("GET", "/metrics", token=None)
    return list(parse(response.body.decode()))


def test_names_and_units_follow_prometheus_conventions() -> None:
    for row in METRICS:
        assert re.fullmatch(r"ryze_[a-z_]+", row.name)
        assert row.name.endswith("_total") == (row.kind == "counter")
        assert row.help.endswith(".")
        assert not re.search("milli|micro|kilo|percent", row.name)


async def test_all_metrics_are_exported_from_the_start(server: Server) -> None:
    response = await server.request("GET", "/metrics", token=None)
    families = {family.name: family for family in parse(response.body.decode())}
    for row in METRICS:
        family = families[row.name.removesuffix("_total")]
        assert family.documentation == row.help
        assert family.type == row.kind.removeprefix("gauge ")
        if row.name != "ryze_upgrades_refused_total":
            assert family.samples, row.name
    assert {"process_resident_memory_bytes", "process_open_fds"} <= families.keys()


async def test_events_are_counted_on_their_way(server: Server, demo: str) -> None:
    before = await scrape(server)
    await server.publish({"n": 1})
    first, second = await server.connect(), await server.connect()
    await server.publish({"n": 2})
    for ws in (first, second):
        assert await ws.data() == {"n": 2}
    await server.configure(enabled=True, events=["call.update"])
    await server.publish({"n": 3})
    await server.configure(enabled=False)
    await server.publish({"n": 4})
    assert differences(before, await scrape(server)) == {
        "ryze_connections subscriber": 2,
        "ryze_connections_opened_total subscriber": 2,
        "ryze_events_published_total": 4,
        "ryze_events_delivered_total": 2,
        "ryze_events_discarded_total nobody_connected": 1,
        "ryze_events_discarded_total filtered": 1,
        "ryze_events_discarded_total disabled": 1,
        "ryze_flush_events_count": 1,
        "ryze_flush_events_sum": 1,
        "ryze_client_pending_events_gcount": 2,
    }


async def test_connections_are_counted_when_opened_refused_and_ended(
    server: Server, demo: str
) -> None:
    before = await scrape(server)
    producer = await server.connect("demo/publish")
    await producer.client.send(b"\x81\x81\0\0\0\0x")
    assert (await producer.closed())[0] == 1008
    for name in ("off-1", "off-2"):
        await server.create(name, websocketEnabled=False)
        await server.try_to_connect(f"/ws/{name}")
    await server.try_to_connect(headers={"token": "wrong"})
    await server.raw(b"GET /ws/demo\r\n\r\n")
    await until(lambda: not server.websockets.connections)
    assert differences(before, await scrape(server)) == {
        "ryze_connections_opened_total producer": 1,
        "ryze_disconnects_total invalid_event": 1,
        "ryze_upgrades_refused_total not_enabled 400": 2,
        "ryze_upgrades_refused_total invalid_token 401": 1,
        "ryze_upgrades_refused_total invalid_handshake 400": 1,
    }


async def test_http_connections_over_their_cap_are_counted_apart_from_upgrades(
    start_server: StartServer,
) -> None:
    server = await start_server(max_http_connections=1)
    before = await scrape(server)
    released = trio.Event()

    @requires(Scope.OPEN)
    async def wait() -> quart.Response:
        await released.wait()
        return quart.Response(b"")

    async with trio.open_nursery() as nursery:
        server.app.view_functions["health.health"] = wait
        nursery.start_soon(server.request, "GET", "/health")
        await until(lambda: len(server.http_connections()) == 1)
        await wait_all_tasks_blocked(0.01)
        for _ in range(2):
            assert (await server.request("GET", "/metrics")).status == 503
        released.set()
    assert differences(before, await scrape(server)) == {
        "ryze_http_connections_refused_total too_many_connections": 2
    }


async def test_requests_over_a_rate_limit_are_counted(start_server: StartServer) -> None:
    server = await start_server(global_rate_limit=limits.parse("1/minute"))
    before = await scrape(server)
    for _ in range(3):
        await server.request("GET", "/api/instance/list")
    await server.try_to_connect()
    assert differences(before, await scrape(server)) == {
        "ryze_rate_limited_requests_total global": 3,
        "ryze_upgrades_refused_total rate_limited 429": 1,
    }


async def test_database_errors_are_counted_by_operation(server: Server, demo: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = await scrape(server)
    assert (await server.request("POST", "/api/instance/new", json={"name": "demo"})).status == 409
    assert differences(before, await scrape(server)) == {}
    for attempt in (server.services.database.read, server.services.database.write):
        with pytest.raises(StoreError):
            await attempt(fail)
    assert differences(before, await scrape(server)) == {
        "ryze_database_errors_total read": 1,
        "ryze_database_errors_total write": 1,
    }


async def test_pending_events_are_measured_at_the_scrape(server: Server) -> None:
    outboxes = [
        Outbox(
            FakeTransport(room),
            OutboxLimits(),
            PLAIN,
            start_writer=lambda: None,
            on_close=lambda: None,
        )
        for room in (1e9, 0)
    ]
    hub = server.hub
    instance = make_instance()
    with hub.subscribed(instance, outboxes[0]), hub.subscribed(instance, outboxes[1]):
        for _ in range(5):
            await publish(hub, 1, [EVENT])
        samples = await scrape(server)
    name = "ryze_client_pending_events"
    buckets = {bound: samples[f"{name}_bucket {bound}"] for bound in ("0.0", "4.0", "16.0", "+Inf")}
    assert buckets == {"0.0": 1, "4.0": 1, "16.0": 2, "+Inf": 2}
    assert samples[f"{name}_gsum"] == 5
    assert samples["ryze_pending_bytes"] == outboxes[1].pending_bytes > 0
    after = await scrape(server)
    assert after[f"{name}_gcount"] == after["ryze_pending_bytes"] == 0
