"""What went wrong: everything is collected, so that one fault does not hide another."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from tests.clients import EndOfStream
from tests.soak.expected_stream import Violation

__all__ = ["PATIENCE_SECONDS", "Findings", "until"]

# Whatever must come has come after this long, on the slowest machine.
PATIENCE_SECONDS = 30

_GLANCE_SECONDS = 0.02

# The first ones say what is wrong; the rest would only repeat it.
_KEPT = 50


async def until(condition: Callable[[], object]) -> bool:
    """Wait for what nobody here is told of; False if it has not come about in good time."""
    with trio.move_on_after(PATIENCE_SECONDS):
        while True:
            if condition():
                return True
            await trio.sleep(_GLANCE_SECONDS)
    return False


class Findings:
    """The faults found, and how often each thing was done, by name."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        # Faults beyond those that are kept.
        self.more = 0
        self.done: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.faults) + self.more

    def add(self, who: str, what: str) -> None:
        """A fault."""
        if len(self.faults) < _KEPT:
            self.faults.append(f"{who}: {what}")
        else:
            self.more += 1

    @contextmanager
    def watching(self, who: str) -> Iterator[None]:
        """What goes wrong inside is a fault, and the end of that block."""
        try:
            with trio.fail_after(4 * PATIENCE_SECONDS):
                yield
        # Groups: a task of its own may have found it.
        except* Violation as group:
            self._add_all(who, "", group)
        except* AssertionError as group:
            self._add_all(who, "not as it must be: ", group)
        except* (OSError, trio.BrokenResourceError, EndOfStream) as group:
            self._add_all(who, "the connection is gone: ", group)
        except* trio.TooSlowError:
            self.add(who, "there is no end of it")

    def _add_all(self, who: str, what: str, group: BaseExceptionGroup[Exception]) -> None:
        for error in _leaves(group):
            self.add(who, f"{what}{str(error) or repr(error)}")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
