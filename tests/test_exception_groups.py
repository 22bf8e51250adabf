"""Exception groups: the error that the caller of a nursery gets."""

import pytest

from ryze.exception_groups import first_leaf, unwrap_groups

ERROR, OTHER = OSError("first"), ValueError("second")


@pytest.mark.parametrize(
    "error",
    [
        ERROR,
        ExceptionGroup("", [ERROR, OTHER]),
        ExceptionGroup("", [ExceptionGroup("", [ERROR]), OTHER]),
    ],
    ids=["no group", "group", "nested"],
)
def test_first_error_of_a_group_is_raised_in_its_place(error: Exception) -> None:
    assert first_leaf(error) is ERROR
    with pytest.raises(OSError, match="first") as caught, unwrap_groups():
        raise error
    assert caught.value is ERROR


def test_interrupt_precedes_the_errors_that_it_causes() -> None:
    interrupt = KeyboardInterrupt()
    assert first_leaf(BaseExceptionGroup("", [ERROR, interrupt])) is interrupt
