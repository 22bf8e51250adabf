"""Scheduler lag, on a virtual clock."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.telemetry.scheduler_lag import SchedulerLag


async def test_stall_is_measured(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    lag = SchedulerLag()
    nursery.start_soon(lag.run)
    await wait_all_tasks_blocked()
    mock_clock.jump(0.25 + 3)
    await wait_all_tasks_blocked()
    mock_clock.jump(0.25)
    await wait_all_tasks_blocked()
    counts = dict(lag.seconds.cumulative())
    assert (counts[0.001], counts[2], counts[5]) == (1, 1, 2)
    assert lag.seconds.total == 3
