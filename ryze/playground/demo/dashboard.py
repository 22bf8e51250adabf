"""All that is known about the minute, and how it looks: plain code, told the time."""

from collections import deque
from dataclasses import dataclass, field

from rich.console import Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ryze.client.error_text import sanitize_line
from ryze.events.event import Event
from ryze.playground.demo.event_summary import describe
from ryze.playground.simulate import Meter
from ryze.settings import Settings

__all__ = ["LIMIT", "Board", "Row", "clock"]

# A type of event is not shown again before this, or nobody could read any of them.
_EXCHANGE_SECONDS, _OTHERS_SECONDS = 0.7, 2.5

# Joiners and variation selectors: terminals do not agree on how wide they make an emoji.
_WIDTHS_DIFFER = dict.fromkeys((0x200D, 0xFE0F))

# How many may be pending, as everywhere, and how long the bar is then.
LIMIT = Settings().client_buffer_messages
_BAR_COLUMNS = 12


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
        ended: why it has been dropped, if it has.
    """

    name: str
    instance: str
    meter: Meter = field(default_factory=Meter)
    pending: int = 0
    state: str = "connecting"
    style: str = ""
    ended: str = ""


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
        self.notes.append((self.elapsed, sanitize_line(text), style))

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
        return f"{clock(self.elapsed)}  published {self.published.count:,} ({rate:.0f}/s): {rows}"

    def summary(self) -> str:
        """What it has been: a line in all, one for each listener, and what is left of it."""
        return "\n".join(
            [
                f"{self.published.count:,} events published and {self.delivered:,} frames "
                f"delivered in {self.elapsed:.0f} s:",
                *(self._account(row) for row in self.rows),
                "The server is gone, and its temporary directory with it.",
            ]
        )

    def _account(self, row: Row) -> str:
        """What a listener has got, and what others of its instance have got besides."""
        most = max(each.meter.count for each in self.rows if each.instance == row.instance)
        missed = most - row.meter.count
        return (
            f"  {row.name:8} {row.meter.count:6,} of {row.instance}"
            + f", {missed:,} missed" * bool(missed)
            + f" (dropped: {row.ended})" * bool(row.ended)
        )

    def _headline(self) -> Rule:
        rate = self.published.rate(self.elapsed)
        title = Text.assemble(
            (f"{clock(self.elapsed)} of {clock(self.seconds)}", "bold"),
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
        return _line((f"{clock(at)} ", "dim"), (text, style))


def _heading(text: str) -> Rule:
    return Rule(Text(text, "bold"), align="left", style="dim")


def _padded(lines: list[Text], count: int) -> list[Text]:
    return lines + [Text()] * (count - len(lines))


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _event_line(event: Event) -> Text:
    return _line(
        (f"{event.type:17}", "blue"), (sanitize_line(describe(event).translate(_WIDTHS_DIFFER)), "")
    )


def _bar(pending: int) -> Text:
    if not pending:
        return Text(f"{'':{_BAR_COLUMNS}} empty", "dim")
    filled = -(-pending * _BAR_COLUMNS // LIMIT)
    style = "red" if pending > LIMIT * 2 // 3 else "yellow"
    return Text.assemble(
        ("█" * filled, style),
        ("░" * (_BAR_COLUMNS - filled), "dim"),
        (f" {pending} of {LIMIT}", style),
    )


def clock(seconds: float) -> str:
    """A time as people write it."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
