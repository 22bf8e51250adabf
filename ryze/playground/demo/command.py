"""The demo as a command: on this terminal, until its end or a signal."""

import io
import signal
import sys
from collections.abc import Callable

import trio
from rich.console import Console

from ryze.exception_groups import unwrap_groups
from ryze.playground.demo.dashboard import Dashboard
from ryze.playground.demo.environment import Plan
from ryze.playground.demo.scenario import run_demo
from ryze.signals import STOP_SIGNALS, stop_on_signal
from ryze.telemetry.logging import configure_logging

__all__ = ["run"]


def run(seconds: float) -> None:
    """Run the demo on this terminal until its end, Ctrl-C, or SIGTERM.

    Raises:
        RyzeError: it cannot start.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Events contain many scripts: show a question mark where the encoding lacks a character.
        sys.stdout.reconfigure(errors="replace")
    dashboard = Dashboard(seconds)
    configure_logging("warning", "console", _LineWriter(dashboard.note))
    with unwrap_groups():
        trio.run(_run_until_signal, Plan.for_duration(seconds), dashboard, Console(highlight=False))


class _LineWriter(io.StringIO):
    """File that passes each line to a function."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        super().__init__()
        self._write_line = write_line

    def write(self, text: str) -> int:
        for line in filter(None, text.splitlines()):
            self._write_line(line)
        return len(text)


async def _run_until_signal(plan: Plan, dashboard: Dashboard, console: Console) -> None:
    # A repeated signal is ignored: ending takes a moment only.
    async with stop_on_signal(*STOP_SIGNALS, signal.SIGHUP) as stop:
        await run_demo(plan, dashboard, console, stop)
