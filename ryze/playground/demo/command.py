"""The demo as a command: on this terminal, until its end or a signal."""

import io
import signal
import sys
from collections.abc import Callable

import trio
from rich.console import Console

from ryze.exception_groups import unwrap_groups
from ryze.playground.demo.dashboard import Board
from ryze.playground.demo.environment import Plan
from ryze.playground.demo.scenario import demo
from ryze.signals import STOP_SIGNALS, stop_on_signal
from ryze.telemetry.logging import configure_logging

__all__ = ["run"]


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
    with unwrap_groups():
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


async def _run_until_signal(plan: Plan, board: Board, console: Console) -> None:
    # A repeated signal is ignored: ending takes a moment only.
    async with stop_on_signal(*STOP_SIGNALS, signal.SIGHUP) as stop:
        await demo(plan, board, console, stop)
