"""The minute is played with everything real, and nothing of it is left behind."""

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
from ryze.playground.demo import Board, Plan, demo

# The story of the minute in a few seconds: bytes that fill all buffers soon.
QUICK = Plan(
    seconds=60,
    rate=400,
    media_bytes=40_000,
    nod_seconds=0.2,
    sleep_seconds=0.2,
    wake_seconds=0.1,
    return_seconds=0.1,
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the demo keeps its data; nothing is in there afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


class Watched(Board):
    """Calls `on_note` with each note, so that a test can go on when something has happened."""

    def __init__(self) -> None:
        super().__init__(QUICK.seconds)
        self.waiting: dict[str, trio.Event] = {}
        self.types: set[str] = set()
        self.highest = 0

    def note(self, text: str, style: str = "") -> None:
        super().note(text, style)
        for words, happened in self.waiting.items():
            if words in text:
                happened.set()

    def take(self, event: Event) -> None:
        self.types.add(event.type)
        super().take(event)

    def tick(self, elapsed: float) -> None:
        super().tick(elapsed)
        self.highest = max(self.highest, self.pending)

    async def wait_for(self, words: str) -> None:
        happened = self.waiting.setdefault(words, trio.Event())
        if any(words in text for _, text, _ in self.notes):
            return
        with trio.fail_after(60):
            await happened.wait()


async def test_the_sleepy_listener_is_dropped_and_comes_back(temporary: Path) -> None:
    board, stop, output = Watched(), trio.Event(), io.StringIO()
    console = Console(file=output, force_terminal=True, width=100, height=30, highlight=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(demo, QUICK, board, console, stop)
        await board.wait_for("comes back")
        stop.set()
    story = [text for _, text, _ in board.notes]
    assert story[:3] == [
        "4 listeners are connected, 2 phones are switched on",
        "helpdesk gets two of the six types of events, the others get all",
        "sleepy nods off: what comes for it waits",
    ]
    assert re.fullmatch(r"sleepy wakes up with \d+ pending, and loses none of them", story[3])
    assert story[4:] == [
        "sleepy falls asleep, and reads nothing from now on",
        "sleepy is dropped by the event after 256 pending ones; nobody else notices",
        "sleepy learns why: slow consumer (close code 4008)",
        "sleepy comes back, and reads on: what it missed is gone",
    ]
    assert board.types == set(EVENT_TYPES)
    assert 128 <= board.highest <= 256
    crm, archive, sleepy, helpdesk = (row.meter.count for row in board.rows)
    assert crm == archive > sleepy > 0
    assert 0 < helpdesk < crm
    assert "queue in the server" in output.getvalue()
    assert f"{crm - sleepy:,} missed (dropped: 4008 slow consumer)" in output.getvalue()


async def test_guests_can_join_in(temporary: Path) -> None:
    board, stop, output = Watched(), trio.Event(), io.StringIO()
    async with trio.open_nursery() as nursery:
        console = Console(file=output, width=100)
        nursery.start_soon(demo, Plan(rate=10), board, console, stop)
        await board.wait_for("switched on")
        url, token = re.findall(r"RYZE_URL=(\S+) RYZE_TOKEN=(\S+)\n", output.getvalue())[0]
        ask = partial(client.publish, url, "shop", token, "call.update", b'{"from": "you"}')
        answer = await trio.to_thread.run_sync(ask)
        assert answer["clients"] == 3
        await board.wait_for("from outside: call.update  from you")
        async with client.open_connection(url, ("ws", "shop"), token):
            await board.wait_for("somebody listens")
        await board.wait_for("somebody has left")
        stop.set()
    # No terminal: lines, and no control sequences.
    assert "  from outside: somebody has left\n" in output.getvalue()
    assert "\x1b" not in output.getvalue()


async def test_its_time_runs_out(temporary: Path) -> None:
    output = io.StringIO()
    with trio.fail_after(30):
        await demo(Plan(seconds=0.3, rate=200), Board(0.3), Console(file=output), trio.Event())
    assert "events published" in output.getvalue()


@pytest.mark.parametrize("how", [{"width": 71, "height": 30}, {"width": 100, "height": 21}])
async def test_a_small_terminal_gets_lines(temporary: Path, how: dict[str, int]) -> None:
    output, stop = io.StringIO(), trio.Event()
    stop.set()
    console = Console(file=output, force_terminal=True, color_system=None, **how)
    await demo(Plan(rate=10), Board(60), console, stop)
    assert "\x1b" not in output.getvalue()


async def test_cancelled_it_leaves_nothing_behind(temporary: Path) -> None:
    board = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(demo, QUICK, board, Console(file=io.StringIO()), trio.Event())
        await board.wait_for("switched on")
        nursery.cancel_scope.cancel()
