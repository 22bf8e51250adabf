"""Display of the dashboard: live on a terminal, as lines elsewhere.

The commands to connect are printed once and not redrawn, so that they can be selected with a
mouse and pasted.
"""

import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ryze.first_start import command_line
from ryze.playground.demo.dashboard import Dashboard, format_time
from ryze.playground.demo.environment import DemoServer

__all__ = ["introduction", "show"]

# Between two updates of the terminal, and between two status lines elsewhere.
_REFRESH_SECONDS = 0.2
_STATUS_SECONDS = 5.0
# Minimum size for the live dashboard below the introduction.
_MIN_COLUMNS, _MIN_LINES = 72, 22


def introduction(server: DemoServer, seconds: float) -> list[Text]:
    """Build the lines above the dashboard: title, and commands to connect."""
    return [
        Text.assemble(
            ("Ryze demo", "bold"),
            f": a server, 2 producers, 4 subscribers, for {seconds:.0f} s. Ctrl-C to stop.",
        ),
        Text("Connect from another terminal:"),
        Text(f"  export RYZE_URL={server.url} RYZE_TOKEN={server.token}", "green"),
        Text(f"  {command_line()} listen shop", "green"),
        Text("  curl $RYZE_URL/api/events/publish/shop -H token:$RYZE_TOKEN \\", "green"),
        Text("    -H content-type:application/json \\", "green"),
        Text("""    -d '{"event": "call.update", "data": {"from": "you"}}'""", "green"),
        Text(),
    ]


async def show(dashboard: Dashboard, console: Console, lines_above: int) -> None:
    """Show the dashboard until cancelled, below `lines_above` lines of the terminal."""
    large = console.width >= _MIN_COLUMNS and console.height >= _MIN_LINES
    if large and console.is_terminal and not console.is_dumb_terminal:
        await _draw(dashboard, console, lines_above)
    await _print_lines(dashboard, console)


async def _draw(dashboard: Dashboard, console: Console, lines_above: int) -> None:
    # Refreshed here: Live's own refresh is a thread.
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(dashboard.render(console.height - lines_above), refresh=True)
                await trio.sleep(_REFRESH_SECONDS)
        finally:
            live.update(dashboard.render(console.height - lines_above), refresh=True)


async def _print_lines(dashboard: Dashboard, console: Console) -> None:
    printed = 0
    next_status = 0.0
    while True:
        for at, text, _ in dashboard.notes[printed:]:
            console.print(f"{format_time(at)}  {text}", markup=False, soft_wrap=True)
        printed = len(dashboard.notes)
        if dashboard.elapsed >= next_status:
            console.print(dashboard.status_line(), markup=False, soft_wrap=True)
            next_status += _STATUS_SECONDS
        await trio.sleep(_REFRESH_SECONDS)
