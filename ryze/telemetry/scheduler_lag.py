"""Scheduler lag: how much later than due Trio runs a task.

It tells a busy server from one that is stuck: every event, ping and request waits as long as the
task that measures it here.
"""

from typing import NoReturn

import trio

from ryze.telemetry.histogram import Histogram

__all__ = ["SchedulerLag"]

# Short enough to catch a stall of half a second, long enough to cost nothing measurable.
_INTERVAL_SECONDS = 0.25

_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class SchedulerLag:
    """Measures the scheduler lag four times per second."""

    def __init__(self) -> None:
        # Seconds between due and running; run() adds.
        self.seconds = Histogram(_BOUNDS)

    async def run(self) -> NoReturn:
        """Measure until cancelled."""
        while True:
            due = trio.current_time() + _INTERVAL_SECONDS
            await trio.sleep_until(due)
            self.seconds.observe(trio.current_time() - due)
