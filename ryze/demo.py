"""``ryze demo``: a minute in which the whole thing is seen at work.

Everything is real and goes over loopback: a server with its database in a temporary directory,
simulated phones that publish, listeners that are WebSocket clients. One of them stops reading,
is dropped, comes back, and reads on.

    demo            starts the server, then the actors, and ends them in reverse
    _Listener       an actor; the sleepy one has a plan
    Board, Row      all that is known about them: plain code, told the time
    _show           the board on a terminal, or as lines where there is none

The commands to join in are printed once and never drawn again, so that they can be marked with
a mouse and pasted.
"""

import io
import secrets
import signal
import sys
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio
from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from trio_websocket import WebSocketConnection

from ryze import app, client, welcome
from ryze.client import ConnectionEnded, open_connection
from ryze.client.groups import without_groups
from ryze.client.words import one_line
from ryze.events import Event, decode_event
from ryze.gateway import Hub
from ryze.gateway.outbox import Outbox
from ryze.log import configure_logging
from ryze.settings import Settings
from ryze.simulate import Meter, publish_events
from ryze.traffic import TimedEvent, Traffic

__all__ = ["Board", "Plan", "Row", "demo", "describe", "run"]

# Between two looks at the hub, two pictures, and two lines where there is no terminal.
_LOOK_SECONDS = 0.05
_DRAW_SECONDS = 0.2
_LINE_SECONDS = 5.0
# Between two looks of the sleepy listener: soon enough to wake up before 256 are pending.
_DOZE_SECONDS = 0.01
# In the end: how long the last events may take to reach everybody.
_SETTLE_SECONDS = 2.0
# A guest that is seen so often in a row is one, and not one of ours that is just connecting.
_LOOKS_AT_A_GUEST = 10
# The smallest terminal for the live part and the lines that stay above it.
_LEAST_COLUMNS, _LEAST_LINES = 72, 22
# A type of event is not shown again before this, or nobody could read any of them.
_EXCHANGE_SECONDS, _OTHERS_SECONDS = 0.7, 2.5

# Joiners and variation selectors: terminals do not agree on how wide they make an emoji.
_WIDTHS_DIFFER = dict.fromkeys((0x200D, 0xFE0F))

# How many may be pending, as everywhere, and how long the bar is then.
_LIMIT = Settings().client_buffer_messages
_BAR_COLUMNS = 12


@dataclass(frozen=True)
class Plan:
    """What happens when, and how much of it.

    Args:
        seconds: how long the demo takes.
        rate: events a second of the busy phone; the other one has a tenth of it.
        media_bytes: the size of a picture. The operating system buffers a few MB between server
            and listener, which must be full before anything waits in the server's own queue.
        nod_seconds: when the sleepy listener stops reading for the first time. It wakes up when
            half of its queue is full, and catches up.
        sleep_seconds: how long after that it stops reading for the second time. It sleeps on
            until it has been dropped.
        wake_seconds: from being dropped to noticing it; less than the close grace.
        return_seconds: from noticing it to coming back.
    """

    seconds: float = 60.0
    rate: float = 80.0
    media_bytes: int = 20_000
    nod_seconds: float = 6.0
    sleep_seconds: float = 12.0
    wake_seconds: float = 1.0
    return_seconds: float = 2.0

    @classmethod
    def of(cls, seconds: float) -> "Plan":
        """The usual plan; a short demo has less time between its events."""
        haste = min(1.0, seconds / cls.seconds)
        return cls(seconds, nod_seconds=6 * haste, sleep_seconds=12 * haste)


def run(seconds: float) -> None:
    """Run the demo on this terminal until its end, Ctrl-C, or SIGTERM.

    Raises:
        RyzeError: it cannot start; the message says why.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # People write in all scripts; a terminal that cannot show one shows a question mark.
        sys.stdout.reconfigure(errors="replace")
    board = Board(seconds)
    configure_logging("warning", "console", _Lines(board.note))
    with without_groups():
        trio.run(_run_until_signal, Plan.of(seconds), board, Console(highlight=False))


class _Lines(io.StringIO):
    """A file of which every line is passed on."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take

    def write(self, text: str) -> int:
        for line in filter(None, text.splitlines()):
            self._take(line)
        return len(text)


async def _run_until_signal(plan: Plan, board: "Board", console: Console) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_signals, signals, stop)
            await demo(plan, board, console, stop)
            nursery.cancel_scope.cancel()


async def _watch_signals(signals: AsyncIterator[int], stop: trio.Event) -> None:
    # What is left to do then takes a moment; who insists has to wait for it as well.
    async for _ in signals:
        stop.set()


# --- The course of the minute ---


async def demo(plan: Plan, board: "Board", console: Console, stop: trio.Event) -> None:
    """Run the demo until its time is over or `stop` is set.

    Cancelled, it leaves nothing behind either.

    Args:
        plan: see there.
        board: is filled with what happens.
        console: where it is shown.
        stop: ends it before its time.

    Raises:
        RyzeError: it cannot start, or the server has failed.
    """
    with tempfile.TemporaryDirectory(prefix="ryze-demo-") as directory:
        async with _serving(Path(directory)) as server:
            shop, office = [await _create(server, name, **how) for name, how in _INSTANCES]
            stage = _Stage(plan, server, board, _Arrivals())
            await _play(stage, shop, office, console, stop)
    console.print(board.summary())


# What is created, and how: everything, and a part of it.
_INSTANCES: list[tuple[str, dict[str, Any]]] = [
    ("shop", {"websocketMediaBase64": True}),
    ("office", {"websocketEvents": ["message.exchange", "call.update"]}),
]


@dataclass(frozen=True)
class _Server:
    url: str
    token: str
    hub: Hub


@dataclass(frozen=True)
class _Instance:
    name: str
    token: str


@asynccontextmanager
async def _serving(directory: Path) -> AsyncIterator[_Server]:
    """A server while inside; then it sees everybody off and ends."""
    settings = Settings(
        port=0,
        data_dir=directory,
        # Short, so that it can be shown; good for a minute, on this machine.
        account_token=f"demo-{secrets.token_hex(6)}",
        close_grace_seconds=5,
        drain_seconds=2,
    )
    stop = trio.Event()
    hubs: list[Hub] = []
    serve = partial(app.serve, settings, stop, announce=lambda _line: None, on_hub=hubs.append)
    async with trio.open_nursery() as nursery:
        started: Settings = await nursery.start(serve)
        yield _Server(started.base_url, started.account_token, hubs[0])
        stop.set()


async def _create(server: _Server, name: str, **how: Any) -> _Instance:
    body = msgspec.json.encode({"name": name, "websocketEnabled": True, **how})
    path = ("api", "instance", "new")
    ask = partial(client.request, "POST", server.url, path, token=server.token, body=body)
    answer = await trio.to_thread.run_sync(ask)
    return _Instance(name, answer["instance"]["token"])


@dataclass(frozen=True)
class _Stage:
    """What every actor needs."""

    plan: Plan
    server: _Server
    board: "Board"
    arrivals: "_Arrivals"


class _Arrivals:
    """Tells the events of our phones from those that somebody else has published."""

    def __init__(self) -> None:
        # The data of what was sent and has not arrived yet; the same may be on its way twice.
        self._expected: Counter[bytes] = Counter()

    def expect(self, events: Iterable[TimedEvent]) -> Iterator[TimedEvent]:
        """Pass on events that are about to be sent."""
        for event in events:
            self._expected[msgspec.json.encode(event.data)] += 1
            yield event

    def is_ours(self, event: Event) -> bool:
        """Whether an event that has arrived is one of them."""
        left = self._expected.pop(event.data, 0) - 1
        if left > 0:
            self._expected[event.data] = left
        return left >= 0


async def _play(
    stage: _Stage, shop: _Instance, office: _Instance, console: Console, stop: trio.Event
) -> None:
    board, plan = stage.board, stage.plan
    listeners = [
        _Listener(stage, "crm", shop, on_frame=partial(_look_at, stage)),
        _Listener(stage, "archive", shop),
        _Listener(stage, "sleepy", shop, is_sleepy=True),
        _Listener(stage, "helpdesk", office),
    ]
    board.rows = [listener.row for listener in listeners]
    for line in _invitation(stage.server, plan):
        console.print(line, soft_wrap=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_hub, stage.server.hub, board, listeners)
        # One after the other: so each can tell which of the hub's outboxes is its own.
        for listener in listeners:
            await nursery.start(listener.run)
        board.note(f"{len(listeners)} listeners are connected, 2 phones are switched on")
        nursery.start_soon(_show, board, console, len(_invitation(stage.server, plan)))
        async with trio.open_nursery() as phones:
            phones.start_soon(_phone, stage, shop, plan.rate, 1)
            phones.start_soon(_phone, stage, office, plan.rate / 10, 2)
            with trio.move_on_after(plan.seconds):
                await stop.wait()
            phones.cancel_scope.cancel()
        await _settle(stage.server.hub)
        nursery.cancel_scope.cancel()


async def _phone(stage: _Stage, instance: _Instance, rate: float, seed: int) -> None:
    traffic = Traffic(Random(seed), datetime.now(UTC), media_bytes=stage.plan.media_bytes)
    events = traffic.events()
    if instance.name == "shop":
        events = stage.arrivals.expect(events)
    await publish_events(
        stage.server.url,
        instance.name,
        instance.token,
        events,
        rate=rate,
        meter=stage.board.published,
    )


def _look_at(stage: _Stage, frame: str | bytes) -> None:
    """One listener's frames are what is shown of the events."""
    event = decode_event(frame if isinstance(frame, bytes) else frame.encode())
    if stage.arrivals.is_ours(event):
        stage.board.take(event)
    else:
        stage.board.note(f"from outside: {event.type}  {describe(event)}", "bold magenta")


async def _watch_hub(hub: Hub, board: "Board", listeners: Sequence["_Listener"]) -> None:
    """Keep the board's time and its numbers up to date."""
    started = trio.current_time()
    looks = 0
    while True:
        # The clock stops where the show does: what comes then is seeing everybody off.
        board.tick(min(trio.current_time() - started, board.seconds))
        for listener in listeners:
            listener.row.pending = listener.outbox.pending if listener.outbox else 0
        ours = sum(each.outbox is not None and not each.outbox.disconnect for each in listeners)
        guests = hub.statistics().clients - ours
        looks = looks + 1 if guests != board.guests else 0
        if looks >= _LOOKS_AT_A_GUEST:
            board.count_guests(guests)
        await trio.sleep(_LOOK_SECONDS)


async def _settle(hub: Hub) -> None:
    """Wait until what has been published is with those who read."""
    with trio.move_on_after(_SETTLE_SECONDS):
        await trio.sleep(_DRAW_SECONDS)
        while hub.statistics().pending:  # noqa: ASYNC110 - the hub tells nobody
            await trio.sleep(_LOOK_SECONDS)


class _Listener:
    """A WebSocket client; it comes back whenever its connection ends.

    Args:
        stage: see there.
        name: what it is called on the board.
        instance: whose events it gets.
        on_frame: called with each frame.
        is_sleepy: it stops reading twice, as planned.
    """

    def __init__(
        self,
        stage: _Stage,
        name: str,
        instance: _Instance,
        *,
        on_frame: Callable[[str | bytes], None] | None = None,
        is_sleepy: bool = False,
    ) -> None:
        self._stage = stage
        self._instance = instance
        self._on_frame = on_frame
        # Whether it will still stop reading; not any more after it has been dropped.
        self._is_sleepy = is_sleepy
        self.row = Row(name, instance.name)
        # Its place in the hub; None until it is connected for the first time.
        self.outbox: Outbox | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen for ever; started when connected for the first time."""
        while True:
            try:
                await self._listen(task_status)
            except ConnectionEnded as error:
                self._note(f"learns why: {error}")
            await trio.sleep(self._stage.plan.return_seconds)
            task_status = trio.TASK_STATUS_IGNORED

    async def _listen(self, task_status: trio.TaskStatus[None]) -> None:
        server = self._stage.server
        others = set(server.hub.outboxes())
        path = ("ws", self._instance.name)
        async with open_connection(server.url, path, self._instance.token) as connection:
            if self.outbox is not None:
                self._note("comes back, and reads faster", "green")
            self.outbox = next(each for each in server.hub.outboxes() if each not in others)
            self._is("listening", "green")
            task_status.started()
            if self._is_sleepy:
                await self._read_for(self._stage.plan.nod_seconds, connection)
                await self._nod(self.outbox)
                await self._read_for(self._stage.plan.sleep_seconds, connection)
                await self._sleep(self.outbox)
            await self._read(connection)

    async def _read_for(self, seconds: float, connection: WebSocketConnection) -> None:
        with trio.move_on_after(seconds):
            await self._read(connection)

    async def _read(self, connection: WebSocketConnection) -> None:
        while True:
            frame = await connection.get_message()
            self.row.meter.count += 1
            if self._on_frame is not None:
                self._on_frame(frame)

    async def _nod(self, outbox: Outbox) -> None:
        """Read nothing until half of what may wait does."""
        self._is("not reading", "yellow")
        self._note("nods off: what comes for it waits", "yellow")
        while outbox.pending < _LIMIT // 2 and not outbox.disconnect:  # noqa: ASYNC110 - as below
            await trio.sleep(_DOZE_SECONDS)
        self._is("listening", "green")
        # A burst can be faster than any eye that opens now and then.
        if outbox.disconnect is None:
            self._note(f"wakes up with {outbox.pending} pending, and loses none of them", "green")

    async def _sleep(self, outbox: Outbox) -> None:
        """Read nothing until the server has had enough, and a moment longer."""
        self._is_sleepy = False
        self._is("not reading", "yellow")
        self._note("falls asleep", "yellow")
        while outbox.disconnect is None:  # noqa: ASYNC110 - it tells its connection only
            await trio.sleep(_DOZE_SECONDS)
        self._is(f"dropped ({outbox.disconnect.code})", "bold red")
        self._note(f"is dropped: {outbox.disconnect.reason}, {_LIMIT} pending", "bold red")
        await trio.sleep(self._stage.plan.wake_seconds)

    def _is(self, state: str, style: str) -> None:
        self.row.state, self.row.style = state, style

    def _note(self, text: str, style: str = "") -> None:
        self._stage.board.note(f"{self.row.name} {text}", style)


# --- What is known ---


@dataclass
class Row:
    """A listener on the board.

    Args:
        name: what it is called.
        instance: whose events it gets.
        meter: what it has received.
        pending: what waits for it in the server.
        state: what it does, in a word or two.
        style: the colour of that.
    """

    name: str
    instance: str
    meter: Meter = field(default_factory=Meter)
    pending: int = 0
    state: str = "connecting"
    style: str = ""


def _received(row: Row) -> int:
    return row.meter.count


class Board:
    """Everything that is shown.

    Args:
        seconds: how long it will take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Since the beginning; whoever knows the time keeps it.
        self.elapsed = 0.0
        self.rows: list[Row] = []
        # What the phones have sent.
        self.published = Meter()
        # Listeners that are not ours.
        self.guests = 0
        # Notable things: when, what, and its style. All of them: there are few.
        self.notes: list[tuple[float, str, str]] = []
        # Some events, the newest last, and when each type was last among them.
        self._events: deque[Event] = deque(maxlen=50)
        self._shown: dict[str, float] = {}
        # The newest event of each type that has come since then.
        self._newest: dict[str, Event] = {}

    def note(self, text: str, style: str = "") -> None:
        """Something worth a line has happened."""
        self.notes.append((self.elapsed, one_line(text), style))

    def take(self, event: Event) -> None:
        """An event has come; it will be shown unless another of its type comes first."""
        self._newest[event.type] = event

    def tick(self, elapsed: float) -> None:
        """Time has passed: events are shown, as many as can be read."""
        self.elapsed = elapsed
        for event in list(self._newest.values()):
            pause = _EXCHANGE_SECONDS if event.type == "message.exchange" else _OTHERS_SECONDS
            if elapsed >= self._shown.get(event.type, -pause) + pause:
                self._shown[event.type] = elapsed
                self._events.append(self._newest.pop(event.type))

    def count_guests(self, guests: int) -> None:
        """So many listeners are not ours."""
        verb = "listens" if guests > self.guests else "has left"
        self.note(f"from outside: somebody {verb}", "bold magenta")
        self.guests = guests

    @property
    def delivered(self) -> int:
        """Frames that our listeners have received."""
        return sum(row.meter.count for row in self.rows)

    @property
    def pending(self) -> int:
        """Frames that wait in the server for our listeners."""
        return sum(row.pending for row in self.rows)

    def picture(self, lines: int) -> Group:
        """The board for a terminal with room for so many lines."""
        free = lines - len(self.rows) - 4
        notes = max(1, min(free // 2, 5))
        return Group(
            self._headline(),
            self._table(),
            _heading("what happens"),
            *_padded([self._note_line(*note) for note in self.notes[-notes:]], notes),
            _heading("some of the events"),
            *_padded(
                [_event_line(event) for event in list(self._events)[-(free - notes) :]],
                free - notes,
            ),
        )

    def line(self) -> str:
        """The board in one line."""
        rows = ", ".join(
            f"{row.name} {row.meter.count:,}" + f" ({row.pending} pending)" * bool(row.pending)
            for row in self.rows
        )
        rate = self.published.rate(self.elapsed)
        return f"{_clock(self.elapsed)}  published {self.published.count:,} ({rate:.0f}/s): {rows}"

    def summary(self) -> str:
        """What it has been, in a line or two."""
        return (
            f"{self.published.count:,} events published and {self.delivered:,} frames delivered in "
            f"{self.elapsed:.0f} s.{self._missed()}\n"
            "The server is gone, and its temporary directory with it."
        )

    def _missed(self) -> str:
        """Who has got less than the others of its instance."""
        most = {row.instance: row.meter.count for row in sorted(self.rows, key=_received)}
        less = [(row.name, most[row.instance] - row.meter.count) for row in self.rows]
        missed = [f"{name} {count:,}" for name, count in less if count]
        return f" Missed: {', '.join(missed)}." if missed else ""

    def _headline(self) -> Rule:
        rate = self.published.rate(self.elapsed)
        title = Text.assemble(
            (f"{_clock(self.elapsed)} of {_clock(self.seconds)}", "bold"),
            f"  published {self.published.count:,}  ",
            (f"{rate:.0f}/s", "bold cyan"),
            f"  queued {self.pending}",
            f"  guests {self.guests}" if self.guests else "",
        )
        return Rule(title, align="left", style="cyan")

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("listener", no_wrap=True)
        table.add_column("events of", no_wrap=True)
        table.add_column("received", justify="right", no_wrap=True)
        table.add_column("rate", justify="right", no_wrap=True, min_width=5)
        table.add_column("queue in the server", no_wrap=True, width=_BAR_COLUMNS + 11)
        table.add_column("state", no_wrap=True)
        for row in self.rows:
            table.add_row(
                Text(row.name, "bold"),
                row.instance,
                f"{row.meter.count:,}",
                Text(f"{row.meter.rate(self.elapsed):.0f}/s", "cyan"),
                _bar(row.pending),
                Text(row.state, row.style),
            )
        return table

    def _note_line(self, at: float, text: str, style: str) -> Text:
        return _line((f"{_clock(at)} ", "dim"), (text, style))


# --- How it is shown ---


def _invitation(server: _Server, plan: Plan) -> list[Text]:
    """What stays above the live part: what this is, and commands to paste."""
    return [
        Text.assemble(
            ("Ryze demo", "bold"),
            f": server, phones, listeners, all real, for {plan.seconds:.0f} s. Ctrl-C ends it.",
        ),
        Text("Join in from another terminal:"),
        Text(f"  export RYZE_URL={server.url} RYZE_TOKEN={server.token}", "green"),
        Text(f"  {welcome._command()} listen shop", "green"),
        Text("  curl $RYZE_URL/api/events/publish/shop -H token:$RYZE_TOKEN \\", "green"),
        Text("    -H content-type:application/json \\", "green"),
        Text("""    -d '{"event": "call.update", "data": {"from": "you"}}'""", "green"),
        Text(),
    ]


async def _show(board: Board, console: Console, above: int) -> None:
    """Show the board until cancelled; `above` lines of the terminal are taken."""
    large = console.width >= _LEAST_COLUMNS and console.height >= _LEAST_LINES
    if large and console.is_terminal and not console.is_dumb_terminal:
        await _draw(board, console, above)
    await _print_lines(board, console)


async def _draw(board: Board, console: Console, above: int) -> None:
    # Live's own refreshing would be a thread.
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(board.picture(console.height - above), refresh=True)
                await trio.sleep(_DRAW_SECONDS)
        finally:
            live.update(board.picture(console.height - above), refresh=True)


async def _print_lines(board: Board, console: Console) -> None:
    printed = 0
    next_line = 0.0
    while True:
        for at, text, _ in board.notes[printed:]:
            console.print(f"{_clock(at)}  {text}", markup=False, soft_wrap=True)
        printed = len(board.notes)
        if board.elapsed >= next_line:
            console.print(board.line(), markup=False, soft_wrap=True)
            next_line += _LINE_SECONDS
        await trio.sleep(_DRAW_SECONDS)


def _heading(text: str) -> Rule:
    return Rule(Text(text, "bold"), align="left", style="dim")


def _padded(lines: list[Text], count: int) -> list[Text]:
    return lines + [Text()] * (count - len(lines))


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _event_line(event: Event) -> Text:
    return _line(
        (f"{event.type:17}", "blue"), (one_line(describe(event).translate(_WIDTHS_DIFFER)), "")
    )


def _bar(pending: int) -> Text:
    if not pending:
        return Text(f"{'':{_BAR_COLUMNS}} empty", "dim")
    filled = -(-pending * _BAR_COLUMNS // _LIMIT)
    style = "red" if pending > _LIMIT * 2 // 3 else "yellow"
    return Text.assemble(
        ("█" * filled, style),
        ("░" * (_BAR_COLUMNS - filled), "dim"),
        (f" {pending} of {_LIMIT}", style),
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


# --- Events in words ---


def describe(event: Event) -> str:
    """An event in a few words. Producers are free, so anything may be missing or different."""
    data = msgspec.json.decode(event.data)
    match event.type:
        case "message.exchange":
            return _describe_message(data)
        case "message.status":
            ids = data.get("messageIds")
            count = len(ids) if isinstance(ids, list) else 1
            return f"{count} {'message' if count == 1 else 'messages'} {_word(data, 'status')}"
        case "call.update":
            return f"{_word(data, 'type')} from {_word(data, 'from').partition('@')[0]}".strip()
        case "group.flow":
            who = data.get("participants")
            name = _word(who[0], "name") if isinstance(who, list) and who else ""
            return f"{_word(data, 'groupName')}: {name} {_word(data, 'type')}"
        case "instance.state":
            return _word(data, "state")
        case "label.update":
            return f"{_word(data, 'type')} {_word(data, 'name')}"


def _describe_message(data: dict[str, Any]) -> str:
    body = data.get("message")
    where = data if "chat" in data else body
    chat, sender = _word(where, "chat", "name"), _word(where, "sender", "name")
    if _word(where, "direction") == "outgoing":
        who = f"to {chat}"
    else:
        who = sender if chat == sender else f"{sender} in {chat}"
    return f"{who}: {_content(body)}"


def _content(body: object) -> str:
    kind = _word(body, "type")
    text = _word(body, "content") or _word(body, "content", "text")
    match kind:
        case "text":
            return text
        case "location":
            return f"[location] {_word(body, 'location', 'address')}"
        case "buttons_response":
            return f"[button] {_word(body, 'interactive', 'selectedButtonId')}"
        case _:
            return f"[{kind.removeprefix('message_')}] {_word(body, 'media', 'caption') or text}"


def _word(data: object, *keys: str) -> str:
    """The text at the end of these keys, or none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) else ""
