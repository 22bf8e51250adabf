"""Collects violations, so that one does not hide another, and counts actions."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from tests.clients import EndOfStream
from tests.soak.expected_stream import Violation

__all__ = ["TIMEOUT_SECONDS", "Violations", "wait_until"]

# More than any single response or event takes, on the slowest machine.
TIMEOUT_SECONDS = 30

_POLL_SECONDS = 0.02

# The first ones show the fault; later ones mostly repeat it.
_MOST_MESSAGES = 50


async def wait_until(condition: Callable[[], object]) -> bool:
    """Poll until `condition` is true; False if it is not within `TIMEOUT_SECONDS`."""
    with trio.move_on_after(TIMEOUT_SECONDS):
        while True:
            if condition():
                return True
            await trio.sleep(_POLL_SECONDS)
    return False


class Violations:
    """The violations of a run, and counters of the actions done."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        # Violations beyond those in `messages`.
        self.omitted = 0
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.messages) + self.omitted

    def add(self, where: str, message: str) -> None:
        """Record one violation."""
        if len(self.messages) < _MOST_MESSAGES:
            self.messages.append(f"{where}: {message}")
        else:
            self.omitted += 1

    @contextmanager
    def recording(self, where: str) -> Iterator[None]:
        """Record an error of the block as a violation, and end the block."""
        try:
            with trio.fail_after(4 * TIMEOUT_SECONDS):
                yield
        # Groups: the error may come from a task that the block has started.
        except* Violation as group:
            self._add_all(where, "", group)
        except* AssertionError as group:
            self._add_all(where, "check failed: ", group)
        except* (OSError, trio.BrokenResourceError, EndOfStream) as group:
            self._add_all(where, "connection lost: ", group)
        except* trio.TooSlowError:
            self.add(where, "timed out")

    def _add_all(self, where: str, prefix: str, group: BaseExceptionGroup[Exception]) -> None:
        for error in _leaves(group):
            self.add(where, f"{prefix}{str(error) or repr(error)}")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
