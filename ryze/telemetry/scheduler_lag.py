"""How late is Trio's scheduler? The one figure that tells a busy server from one that is stuck.

A task that sleeps wakes when it is due and all that is ready before it has had its turn. What it
wakes too late is what every event, ping and request waits as well.
"""

from typing import NoReturn

import trio

from ryze.telemetry.histogram import Histogram

__all__ = ["SchedulerLag"]

# Often enough to see a stall of half a second, seldom enough to cost nothing.
_LOOK_SECONDS = 0.25

_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class SchedulerLag:
    """Measures it, a few times a second."""

    def __init__(self) -> None:
        # Seconds from being due to running; watch() adds.
        self.seconds = Histogram(_BOUNDS)

    async def watch(self) -> NoReturn:
        """Look for ever."""
        while True:
            due = trio.current_time() + _LOOK_SECONDS
            await trio.sleep_until(due)
            self.seconds.observe(trio.current_time() - due)
