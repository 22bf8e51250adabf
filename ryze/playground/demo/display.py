"""The board on a terminal, or as lines where there is none.

The commands to join in are printed once and never drawn again, so that they can be marked with
a mouse and pasted.
"""

import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ryze.first_start import command_line
from ryze.playground.demo.dashboard import Board, clock
from ryze.playground.demo.environment import RunningServer

__all__ = ["invitation", "show"]

# Between two pictures, and between two lines where there is no terminal.
_DRAW_SECONDS = 0.2
_LINE_SECONDS = 5.0
# The smallest terminal for the live part and the lines that stay above it.
_LEAST_COLUMNS, _LEAST_LINES = 72, 22


def invitation(server: RunningServer, seconds: float) -> list[Text]:
    """What stays above the live part: what this is, and commands to paste."""
    return [
        Text.assemble(
            ("Ryze demo", "bold"),
            f": server, phones, listeners, all real, for {seconds:.0f} s. Ctrl-C ends it.",
        ),
        Text("Join in from another terminal:"),
        Text(f"  export RYZE_URL={server.url} RYZE_TOKEN={server.token}", "green"),
        Text(f"  {command_line()} listen shop", "green"),
        Text("  curl $RYZE_URL/api/events/publish/shop -H token:$RYZE_TOKEN \\", "green"),
        Text("    -H content-type:application/json \\", "green"),
        Text("""    -d '{"event": "call.update", "data": {"from": "you"}}'""", "green"),
        Text(),
    ]


async def show(board: Board, console: Console, above: int) -> None:
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
            console.print(f"{clock(at)}  {text}", markup=False, soft_wrap=True)
        printed = len(board.notes)
        if board.elapsed >= next_line:
            console.print(board.line(), markup=False, soft_wrap=True)
            next_line += _LINE_SECONDS
        await trio.sleep(_DRAW_SECONDS)
