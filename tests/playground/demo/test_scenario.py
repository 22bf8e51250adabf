"""The demo with its real server and clients; it leaves nothing behind."""

import io
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from rich.console import Console

from ryze import client
from ryze.events.event import EVENT_TYPES, Event
from ryze.playground.demo.dashboard import Dashboard
from ryze.playground.demo.environment import Plan
from ryze.playground.demo.scenario import run_demo

# The whole scenario in a few seconds: large media fill all buffers soon.
QUICK = Plan(
    seconds=60,
    rate=400,
    media_bytes=40_000,
    first_pause_seconds=0.2,
    second_pause_seconds=0.2,
    detection_seconds=0.1,
    reconnect_seconds=0.1,
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Directory of the demo's data; empty afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


class ObservedDashboard(Dashboard):
    """Dashboard whose log a test can wait for."""

    def __init__(self) -> None:
        super().__init__(QUICK.seconds)
        self.waiting: dict[str, trio.Event] = {}
        self.types: set[str] = set()
        self.max_pending = 0

    def note(self, text: str, style: str = "") -> None:
        super().note(text, style)
        for part, logged in self.waiting.items():
            if part in text:
                logged.set()

    def show_event(self, event: Event) -> None:
        self.types.add(event.type)
        super().show_event(event)

    def advance(self, elapsed: float) -> None:
        super().advance(elapsed)
        self.max_pending = max(self.max_pending, self.pending)

    async def wait_logged(self, part: str) -> None:
        logged = self.waiting.setdefault(part, trio.Event())
        if any(part in text for _, text, _ in self.notes):
            return
        with trio.fail_after(60):
            await logged.wait()


async def test_slow_subscriber_catches_up_then_is_evicted_and_reconnects(temporary: Path) -> None:
    dashboard, stop, output = ObservedDashboard(), trio.Event(), io.StringIO()
    console = Console(file=output, force_terminal=True, width=100, height=30, highlight=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_demo, QUICK, dashboard, console, stop)
        await dashboard.wait_logged("slow reconnected")
        stop.set()
    log = [text for _, text, _ in dashboard.notes if text.startswith("slow ")]
    for text, expected in zip(
        log,
        (
            "stops reading",
            r"reads again with \d+ pending",
            "stops reading",
            "is evicted: .* 256 pending",
            r"slow consumer \(close code 4008\)",
            "reconnected",
        ),
        strict=True,
    ):
        assert re.search(expected, text)
    assert dashboard.types == set(EVENT_TYPES)
    assert 128 <= dashboard.max_pending <= 256
    crm, archive, slow, helpdesk = (row.meter.count for row in dashboard.rows)
    assert crm == archive > slow > 0
    assert 0 < helpdesk < crm
    assert "pending in the server" in output.getvalue()
    assert f"{crm - slow:,} missed (evicted: 4008 slow consumer)" in output.getvalue()


async def test_external_clients_can_publish_and_subscribe(temporary: Path) -> None:
    dashboard, stop, output = ObservedDashboard(), trio.Event(), io.StringIO()
    async with trio.open_nursery() as nursery:
        console = Console(file=output, width=100)
        nursery.start_soon(run_demo, Plan(rate=10), dashboard, console, stop)
        await dashboard.wait_logged("producers started")
        url, token = re.findall(r"RYZE_URL=(\S+) RYZE_TOKEN=(\S+)\n", output.getvalue())[0]
        publish = partial(client.publish, url, "shop", token, "call.update", b'{"from": "you"}')
        response = await trio.to_thread.run_sync(publish)
        assert response["clients"] == 3
        await dashboard.wait_logged("external event: call.update  from you")
        async with client.open_connection(url, ("ws", "shop"), token):
            await dashboard.wait_logged("external subscriber connected")
        await dashboard.wait_logged("external subscriber disconnected")
        stop.set()
    # Without a terminal: lines without control sequences.
    assert "  external subscriber disconnected\n" in output.getvalue()
    assert "\x1b" not in output.getvalue()


async def test_demo_ends_after_its_duration(temporary: Path) -> None:
    output = io.StringIO()
    with trio.fail_after(30):
        await run_demo(
            Plan(seconds=0.3, rate=200), Dashboard(0.3), Console(file=output), trio.Event()
        )
    assert "events published" in output.getvalue()


@pytest.mark.parametrize("size", [{"width": 71, "height": 30}, {"width": 100, "height": 21}])
async def test_small_terminal_gets_lines(temporary: Path, size: dict[str, int]) -> None:
    output, stop = io.StringIO(), trio.Event()
    stop.set()
    console = Console(file=output, force_terminal=True, color_system=None, **size)
    await run_demo(Plan(rate=10), Dashboard(60), console, stop)
    assert "\x1b" not in output.getvalue()


async def test_cancelling_leaves_nothing_behind(temporary: Path) -> None:
    dashboard = ObservedDashboard()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_demo, QUICK, dashboard, Console(file=io.StringIO()), trio.Event())
        await dashboard.wait_logged("producers started")
        nursery.cancel_scope.cancel()
