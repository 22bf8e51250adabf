"""Cancels something at every await of its life, one run for each.

Trio tells an instrument of each step of each task, from one await to the next. `CancelAt` counts
the steps of what it watches and of all tasks that this has started, and cancels it after the
n-th, wherever it and they then are; `cancelled_everywhere` tries 1, 2, 3 and so on, until a run
is over before it is cancelled. No list of awaits has to be kept by hand.
"""

from collections.abc import Awaitable, Callable

import trio

__all__ = ["CancelAt", "cancelled_everywhere"]


class CancelAt(trio.abc.Instrument):
    """Cancels what it is given to run after its n-th step.

    Args:
        step: n.
        armed: it counts from the beginning, not only once this is set.
    """

    def __init__(self, step: int, *, armed: bool = True) -> None:
        self._left = step
        self.armed = armed
        self._root: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope()
        # It has been cancelled before it was over.
        self.done = False

    async def run(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run it in a task of its own: that task and all that it starts are watched."""

        async def watched() -> None:
            with self._scope:
                self._root = trio.lowlevel.current_task()
                await function(*args)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watched)
        self._root = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio calls this."""
        if not self.armed or self._root is None or self.done or not self._is_watched(task):
            return
        self._left -= 1
        if self._left == 0:
            self.done = True
            self._scope.cancel()

    def _is_watched(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None and task is not self._root:
            nursery = task.parent_nursery
            task = nursery.parent_task if nursery is not None else None
        return task is not None


def cancelled_everywhere(run: Callable[[CancelAt], None]) -> int:
    """Run it, cancelled after one step, then after two, until it is over before; how many.

    Args:
        run: one run, which checks for itself that nothing is left behind.
    """
    step = 1
    while True:
        canceller = CancelAt(step)
        run(canceller)
        if not canceller.done:
            return step
        step += 1
