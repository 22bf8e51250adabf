"""Unwrapping of exception groups, where a nursery meets a caller that expects one exception."""

import contextlib
from collections.abc import Iterator

__all__ = ["first_leaf", "unwrap_groups"]


@contextlib.contextmanager
def unwrap_groups() -> Iterator[None]:
    """Raise the first leaf of an exception group instead of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise first_leaf(group) from None


def first_leaf(error: BaseException) -> BaseException:
    """Return the most relevant exception of a group; any other exception is returned as it is."""
    # KeyboardInterrupt and Cancelled before ordinary errors, which they often cause.
    while isinstance(error, BaseExceptionGroup):
        error = min(error.exceptions, key=lambda each: isinstance(each, Exception))
    return error
