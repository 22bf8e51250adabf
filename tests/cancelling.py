"""Cancels a task at each of its awaits, in one run per await.

Trio reports each step of each task, from one await to the next, to an instrument. `CancelAt`
counts the steps of a task and of all tasks started by it, and cancels them after the n-th step;
`cancel_at_every_step` tries n = 1, 2, 3 and so on, until a run ends before it is cancelled. No
list of awaits has to be kept by hand.
"""

from collections.abc import Awaitable, Callable

import trio

__all__ = ["CancelAt", "cancel_at_every_step"]


class CancelAt(trio.abc.Instrument):
    """Cancels the function passed to `run` after its n-th step.

    Args:
        step: n.
        armed: whether steps are counted; can be set later.
    """

    def __init__(self, step: int, *, armed: bool = True) -> None:
        self._left = step
        self.armed = armed
        self._root: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope()
        # The function was cancelled before it ended.
        self.done = False

    async def run(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run `function` in a new task; that task and all tasks it starts are counted."""

        async def watched() -> None:
            with self._scope:
                self._root = trio.lowlevel.current_task()
                await function(*args)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watched)
        self._root = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step. Called by Trio."""
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


def cancel_at_every_step(run: Callable[[CancelAt], None]) -> int:
    """Call `run` with n = 1, 2, 3... until a run ends before it is cancelled.

    Args:
        run: does one run, and checks that nothing is left behind.

    Returns:
        The number of runs.
    """
    step = 1
    while True:
        canceller = CancelAt(step)
        run(canceller)
        if not canceller.done:
            return step
        step += 1
