"""State of the demo and its rendering; no I/O and no clock."""

from collections import deque
from dataclasses import dataclass, field

from rich.console import Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ryze.client.error_text import sanitize_line
from ryze.events.event import Event
from ryze.playground.demo.event_summary import describe_event
from ryze.playground.simulate import RateMeter
from ryze.settings import Settings

__all__ = ["PENDING_LIMIT", "Dashboard", "SubscriberRow", "format_time"]

# Minimum time between two displayed events of one type, so that they can be read.
_MESSAGE_SECONDS, _OTHER_SECONDS = 0.7, 2.5

# Joiners and variation selectors: terminals differ in the width of emoji that contain them.
_AMBIGUOUS_WIDTH = dict.fromkeys((0x200D, 0xFE0F))

# The default limit of pending messages, and the length of the bar at that limit.
PENDING_LIMIT = Settings().client_buffer_messages
_BAR_COLUMNS = 12


@dataclass
class SubscriberRow:
    """Row of the dashboard: one subscriber.

    Args:
        name: of the subscriber.
        instance: name of its instance.
        meter: counts the frames received.
        pending: messages pending in the server.
        state: current state, in a word or two.
        style: colour of the state.
        ended: close code and reason of its eviction; empty if it was not evicted.
    """

    name: str
    instance: str
    meter: RateMeter = field(default_factory=RateMeter)
    pending: int = 0
    state: str = "connecting"
    style: str = ""
    ended: str = ""


class Dashboard:
    """State of the demo, rendered as a table, a line, or a summary.

    Args:
        seconds: duration of the demo.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Seconds since the start; advance() sets it.
        self.elapsed = 0.0
        self.rows: list[SubscriberRow] = []
        # Events sent by the demo's producers.
        self.published = RateMeter()
        # Subscribers that are not part of the demo.
        self.external_subscribers = 0
        # Log of the demo: time, text, style. Unbounded, as there are few.
        self.notes: list[tuple[float, str, str]] = []
        # Displayed events, the newest last, and the time of the last one per type.
        self._events: deque[Event] = deque(maxlen=50)
        self._shown_at: dict[str, float] = {}
        # Newest event per type that is not displayed yet.
        self._newest: dict[str, Event] = {}

    def note(self, text: str, style: str = "") -> None:
        """Add a line to the log."""
        self.notes.append((self.elapsed, sanitize_line(text), style))

    def show_event(self, event: Event) -> None:
        """Display an event, unless another one of its type comes first."""
        self._newest[event.type] = event

    def advance(self, elapsed: float) -> None:
        """Set the time and display the events that are due."""
        self.elapsed = elapsed
        for event in list(self._newest.values()):
            pause = _MESSAGE_SECONDS if event.type == "message.exchange" else _OTHER_SECONDS
            if elapsed >= self._shown_at.get(event.type, -pause) + pause:
                self._shown_at[event.type] = elapsed
                self._events.append(self._newest.pop(event.type))

    def set_external_subscribers(self, count: int) -> None:
        """Set the number of subscribers that are not part of the demo, and log the change."""
        change = "connected" if count > self.external_subscribers else "disconnected"
        self.note(f"external subscriber {change}", "bold magenta")
        self.external_subscribers = count

    @property
    def delivered(self) -> int:
        """Frames received by all subscribers of the demo."""
        return sum(row.meter.count for row in self.rows)

    @property
    def pending(self) -> int:
        """Messages pending in the server for all subscribers of the demo."""
        return sum(row.pending for row in self.rows)

    def render(self, lines: int) -> Group:
        """Render the dashboard in exactly this number of terminal lines."""
        free = lines - len(self.rows) - 4
        notes = max(1, min(free // 2, 5))
        return Group(
            self._headline(),
            self._table(),
            _heading("log"),
            *_padded([self._note_line(*note) for note in self.notes[-notes:]], notes),
            _heading("sample of the events"),
            *_padded(
                [_event_line(event) for event in list(self._events)[-(free - notes) :]],
                free - notes,
            ),
        )

    def status_line(self) -> str:
        """Format the dashboard in one line."""
        rows = ", ".join(
            f"{row.name} {row.meter.count:,}" + f" ({row.pending} pending)" * bool(row.pending)
            for row in self.rows
        )
        time, rate = format_time(self.elapsed), self.published.rate(self.elapsed)
        return f"{time}  published {self.published.count:,} ({rate:.0f}/s): {rows}"

    def summary(self) -> str:
        """Format the totals, with one line per subscriber."""
        return "\n".join(
            [
                f"{self.published.count:,} events published and {self.delivered:,} frames "
                f"delivered in {self.elapsed:.0f} s:",
                *(self._summary_line(row) for row in self.rows),
                "The server has stopped; its temporary directory is deleted.",
            ]
        )

    def _summary_line(self, row: SubscriberRow) -> str:
        """Format the frames received, and those that only others of the instance received."""
        most = max(each.meter.count for each in self.rows if each.instance == row.instance)
        missed = most - row.meter.count
        return (
            f"  {row.name:8} {row.meter.count:6,} from {row.instance}"
            + f", {missed:,} missed" * bool(missed)
            + f" (evicted: {row.ended})" * bool(row.ended)
        )

    def _headline(self) -> Rule:
        rate = self.published.rate(self.elapsed)
        title = Text.assemble(
            (f"{format_time(self.elapsed)} of {format_time(self.seconds)}", "bold"),
            f"  published {self.published.count:,}  ",
            (f"{rate:.0f}/s", "bold cyan"),
            f"  pending {self.pending}",
            f"  external {self.external_subscribers}" if self.external_subscribers else "",
        )
        return Rule(title, align="left", style="cyan")

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("subscriber", no_wrap=True)
        table.add_column("instance", no_wrap=True)
        table.add_column("received", justify="right", no_wrap=True)
        table.add_column("rate", justify="right", no_wrap=True, min_width=5)
        table.add_column("pending in the server", no_wrap=True, width=_BAR_COLUMNS + 11)
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
        return _line((f"{format_time(at)} ", "dim"), (text, style))


def _heading(text: str) -> Rule:
    return Rule(Text(text, "bold"), align="left", style="dim")


def _padded(lines: list[Text], count: int) -> list[Text]:
    return lines + [Text()] * (count - len(lines))


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _event_line(event: Event) -> Text:
    return _line(
        (f"{event.type:17}", "blue"),
        (sanitize_line(describe_event(event).translate(_AMBIGUOUS_WIDTH)), ""),
    )


def _bar(pending: int) -> Text:
    if not pending:
        return Text(f"{'':{_BAR_COLUMNS}} none", "dim")
    filled = -(-pending * _BAR_COLUMNS // PENDING_LIMIT)
    style = "red" if pending > PENDING_LIMIT * 2 // 3 else "yellow"
    return Text.assemble(
        ("█" * filled, style),
        ("░" * (_BAR_COLUMNS - filled), "dim"),
        (f" {pending} of {PENDING_LIMIT}", style),
    )


def format_time(seconds: float) -> str:
    """Format seconds as minutes and seconds, such as 1:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
