"""Rendering of the dashboard: as a table, a line and a summary."""

import io
import json
import re
from typing import Any

import pytest
from rich.console import Console

from ryze.events.event import Event
from ryze.playground.demo.dashboard import Dashboard, SubscriberRow


def make_dashboard() -> Dashboard:
    dashboard = Dashboard(60)
    dashboard.rows = [
        SubscriberRow("crm", "shop", state="reading", style="green"),
        SubscriberRow("slow", "shop", state="not reading", style="yellow"),
    ]
    return dashboard


def event(type: Any, /, **data: str) -> Event:
    return Event(type, json.dumps(data).encode())


def render(dashboard: Dashboard, lines: int = 16, width: int = 80) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=width).print(dashboard.render(lines))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("lines", [15, 16, 22, 40])
@pytest.mark.parametrize("width", [72, 80, 200])
def test_rendering_fills_exactly_the_given_lines(lines: int, width: int) -> None:
    dashboard = make_dashboard()
    for number in range(100):
        dashboard.note(f"{number} " + "x" * 300)
        dashboard.show_event(event("label.update", name="y" * 300))
        dashboard.advance(number * 10.0)
    rendered = render(dashboard, lines, width)
    assert len(rendered) == lines
    assert all(len(line) <= width for line in rendered)


def test_rendering_shows_counts_states_log_and_events() -> None:
    dashboard = make_dashboard()
    dashboard.published.count = 1234
    dashboard.rows[0].meter.count = 1200
    dashboard.rows[1].pending = 128
    dashboard.external_subscribers = 2
    dashboard.advance(5)
    dashboard.note("a log line")
    dashboard.show_event(event("instance.state", state="connected"))
    dashboard.advance(23)
    text = "\n".join(render(dashboard))
    assert "0:23 of 1:00  published 1,234" in text
    assert "pending 128  external 2" in text
    assert re.search(r"crm +shop +1,200 .* none +reading", text)
    assert re.search(r"slow +shop .* ██████░░░░░░ 128 of 256 +not reading", text)
    assert "0:05 a log line" in text
    assert "instance.state   connected" in text


def test_newest_event_per_type_is_shown_at_intervals() -> None:
    dashboard = make_dashboard()
    for state in ("disconnected", "connecting", "connected"):
        dashboard.show_event(event("instance.state", state=state))
    dashboard.advance(0)
    dashboard.show_event(event("instance.state", state="soon after"))
    dashboard.advance(1)
    text = "\n".join(render(dashboard))
    assert "connected" in text
    assert "disconnected" not in text
    assert "soon after" not in text
    dashboard.advance(3)
    assert "soon after" in "\n".join(render(dashboard))


def test_control_characters_are_removed() -> None:
    dashboard = make_dashboard()
    dashboard.note("a\x1b[2Jb\nc")
    dashboard.show_event(event("instance.state", state="d\r\x07e\u200df"))
    dashboard.advance(0)
    text = "\n".join(render(dashboard))
    assert "a [2Jb c" in text
    assert "d  ef" in text


def test_status_line_has_published_received_and_pending_counts() -> None:
    dashboard = make_dashboard()
    dashboard.published.count = 20
    dashboard.rows[0].meter.count = 1500
    dashboard.rows[1].pending = 3
    line = dashboard.status_line()
    for text in ("0:00", "published 20 (0/s)", "crm 1,500", "slow 0 (3 pending)"):
        assert text in line


def test_summary_counts_missed_frames_per_subscriber() -> None:
    dashboard = make_dashboard()
    dashboard.published.count = 10
    dashboard.rows[0].meter.count = 10
    dashboard.rows[1].meter.count = 7
    dashboard.rows[1].ended = "4008 slow consumer"
    dashboard.advance(2)
    total, crm, slow, *_ = dashboard.summary().splitlines()
    assert "10 events published and 17 frames delivered in 2 s" in total
    assert crm.split() == ["crm", "10", "from", "shop"]
    assert slow.split()[:2] == ["slow", "7"]
    assert "3 missed (evicted: 4008 slow consumer)" in slow


def test_summary_without_missed_frames() -> None:
    dashboard = make_dashboard()
    dashboard.rows.append(SubscriberRow("helpdesk", "office"))
    for row, count in zip(dashboard.rows, (1000, 1000, 8), strict=True):
        row.meter.count = count
    assert [line.split() for line in dashboard.summary().splitlines()[1:4]] == [
        ["crm", "1,000", "from", "shop"],
        ["slow", "1,000", "from", "shop"],
        ["helpdesk", "8", "from", "office"],
    ]


def test_external_subscribers_are_logged() -> None:
    dashboard = make_dashboard()
    dashboard.set_external_subscribers(1)
    dashboard.set_external_subscribers(0)
    assert [text for _, text, _ in dashboard.notes] == [
        "external subscriber connected",
        "external subscriber disconnected",
    ]
