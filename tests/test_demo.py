"""``ryze demo``: its minute is played with everything real, and nothing of it is left behind."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import ryze.demo
from ryze import client
from ryze.cli import cli
from ryze.demo import Board, Plan, Row, demo, describe
from ryze.events import EVENT_TYPES, Event, decode_event

FIXTURES = Path(__file__).parent / "fixtures" / "events"

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


# --- Events in words ---


@pytest.mark.parametrize(
    ("fixture", "words"),
    [
        ("call.update", "offer from 5511999990001"),
        ("group.flow", "Família 👨‍👩‍👧‍👦: João Silva promoted"),
        ("instance.state", "qr_ready"),
        ("label.update", "edit Pago"),
        ("message.status", "2 messages read"),
        ("message.exchange.catalog.edit", "João Silva: [edit] corrigido"),
        (
            "message.exchange.catalog.group",
            "João Silva in Família 👨‍👩‍👧‍👦: مرحبا بالجميع — שלום — 皆さん",
        ),
        ("message.exchange.catalog.image", "João Silva: [image] foto"),
        ("message.exchange.catalog.location", "João Silva: [location] São Paulo"),
        ("message.exchange.catalog.revoke", "to João Silva: [revoke] "),
        ("message.exchange.catalog.text", "João Silva: Olá! Tudo bem? 😀"),
        ("message.exchange.live.button", "João Silva: [button] order:confirm:8841"),
        ("message.exchange.live.status", "João Silva in Status: story"),
        ("message.exchange.live.text", "João Silva: oi"),
        ("message.exchange.live.voice", "João Silva: [audio] "),
    ],
)
def test_events_are_told_in_words(fixture: str, words: str) -> None:
    assert describe(decode_event((FIXTURES / f"{fixture}.json").read_bytes())) == words


names = st.sampled_from(
    ["message", "chat", "sender", "participants", "type", "from", "content", "media", "messageIds"]
)
values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
)


@given(st.sampled_from(EVENT_TYPES), st.dictionaries(names, values))
def test_whatever_guests_publish_is_told_somehow(name: Any, data: dict[str, Any]) -> None:
    assert isinstance(describe(Event(name, json.dumps(data).encode())), str)


# --- The board ---


def a_board() -> Board:
    board = Board(60)
    board.rows = [
        Row("crm", "shop", state="listening", style="green"),
        Row("sleepy", "shop", state="not reading", style="yellow"),
    ]
    return board


def event(type: Any, /, **data: str) -> Event:
    return Event(type, json.dumps(data).encode())


def drawn(board: Board, lines: int = 16, width: int = 80) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=width).print(board.picture(lines))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("lines", [15, 16, 22, 40])
@pytest.mark.parametrize("width", [72, 80, 200])
def test_a_picture_has_as_many_lines_as_there_is_room_for(lines: int, width: int) -> None:
    board = a_board()
    for number in range(100):
        board.note(f"{number} " + "x" * 300)
        board.take(event("label.update", name="y" * 300))
        board.tick(number * 10.0)
    picture = drawn(board, lines, width)
    assert len(picture) == lines
    assert all(len(line) <= width for line in picture)


def test_a_picture_shows_what_is_known() -> None:
    board = a_board()
    board.published.count = 1234
    board.rows[0].meter.count = 1200
    board.rows[1].pending = 128
    board.guests = 2
    board.tick(5)
    board.note("something happens")
    board.take(event("instance.state", state="connected"))
    board.tick(23)
    text = "\n".join(drawn(board))
    assert "0:23 of 1:00  published 1,234" in text
    assert "queued 128  guests 2" in text
    assert re.search(r"crm +shop +1,200 .* empty +listening", text)
    assert re.search(r"sleepy +shop .* ██████░░░░░░ 128 of 256 +not reading", text)
    assert "0:05 something happens" in text
    assert "instance.state   connected" in text


def test_of_each_type_the_newest_event_is_shown_now_and_then() -> None:
    board = a_board()
    for state in ("disconnected", "connecting", "connected"):
        board.take(event("instance.state", state=state))
    board.tick(0)
    board.take(event("instance.state", state="soon after"))
    board.tick(1)
    text = "\n".join(drawn(board))
    assert "connected" in text
    assert "disconnected" not in text
    assert "soon after" not in text
    board.tick(3)
    assert "soon after" in "\n".join(drawn(board))


def test_nothing_that_others_send_moves_the_cursor() -> None:
    board = a_board()
    board.note("a\x1b[2Jb\nc")
    board.take(event("instance.state", state="d\r\x07e\u200df"))
    board.tick(0)
    text = "\n".join(drawn(board))
    assert "a [2Jb c" in text
    assert "d  ef" in text


def test_the_board_is_a_line_too() -> None:
    board = a_board()
    board.published.count = 20
    board.rows[0].meter.count = 1500
    board.rows[1].pending = 3
    assert board.line() == "0:00  published 20 (0/s): crm 1,500, sleepy 0 (3 pending)"


def test_the_summary_says_who_missed_what() -> None:
    board = a_board()
    board.published.count = 10
    board.rows[0].meter.count = 10
    board.rows[1].meter.count = 7
    board.tick(2)
    assert board.summary().splitlines() == [
        "10 events published and 17 frames delivered in 2 s. Missed: sleepy 3.",
        "The server is gone, and its temporary directory with it.",
    ]
    board.rows[1].meter.count = 10
    assert "Missed" not in board.summary()


def test_guests_come_and_go() -> None:
    board = a_board()
    board.count_guests(1)
    board.count_guests(0)
    assert [text for _, text, _ in board.notes] == [
        "from outside: somebody listens",
        "from outside: somebody has left",
    ]


def test_a_short_demo_makes_haste() -> None:
    assert Plan.of(60) == Plan()
    assert Plan.of(600).sleep_seconds == Plan().sleep_seconds
    assert Plan.of(10).nod_seconds == 1


def test_warnings_of_the_server_stand_on_the_board() -> None:
    noted: list[str] = []
    ryze.demo._Lines(noted.append).write("one\ntwo\n")
    assert noted == ["one", "two"]


# --- The minute ---


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
    assert story[:2] == [
        "4 listeners are connected, 2 phones are switched on",
        "sleepy nods off: what comes for it waits",
    ]
    assert re.fullmatch(r"sleepy wakes up with \d+ pending, and loses none of them", story[2])
    assert story[3:] == [
        "sleepy falls asleep",
        "sleepy is dropped: slow consumer, 256 pending",
        "sleepy learns why: slow consumer (close code 4008)",
        "sleepy comes back, and reads faster",
    ]
    assert board.types == set(EVENT_TYPES)
    assert 128 <= board.highest <= 256
    crm, archive, sleepy, helpdesk = (row.meter.count for row in board.rows)
    assert crm == archive > sleepy > 0
    assert 0 < helpdesk < crm
    assert "queue in the server" in output.getvalue()
    assert f"Missed: sleepy {crm - sleepy:,}." in output.getvalue()


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-W", "error", "-m", "ryze", "demo"]
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        try:
            for line in started.stdout:
                if "switched on" in line:
                    started.send_signal(number)
                    break
            assert "The server is gone" in started.stdout.read()
            assert started.wait(30) == 0
            assert started.stderr.read() == ""
        finally:
            started.kill()
    assert list(tmp_path.iterdir()) == []


# --- The command ---


def test_the_command_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    monkeypatch.setattr(ryze.demo, "run", times.append)
    assert CliRunner().invoke(cli, ["demo"]).exit_code == 0
    assert CliRunner().invoke(cli, ["demo", "--seconds", "2.5"]).exit_code == 0
    assert CliRunner().invoke(cli, ["demo", "--seconds", "0"]).exit_code == 2
    assert times == [60.0, 2.5]
