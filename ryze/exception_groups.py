"""Exception groups, taken apart where a nursery meets a caller who knows nothing of it."""

import contextlib
from collections.abc import Iterator

__all__ = ["first_leaf", "unwrap_groups"]


@contextlib.contextmanager
def unwrap_groups() -> Iterator[None]:
    """Nurseries put what is raised inside them into groups; here it comes out bare."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise first_leaf(group) from None


def first_leaf(error: BaseException) -> BaseException:
    """The error of a group that is worth telling; any other error is that itself."""
    # KeyboardInterrupt and Cancelled before ordinary errors, which they often bring about.
    while isinstance(error, BaseExceptionGroup):
        error = min(error.exceptions, key=lambda each: isinstance(each, Exception))
    return error
