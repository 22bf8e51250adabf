"""Drain flag of the server: from its beginning on, no new work is accepted."""

__all__ = ["DrainFlag"]


class DrainFlag:
    """One flag per server, checked wherever new work is accepted."""

    __slots__ = ("_has_begun",)

    def __init__(self) -> None:
        # Set once, never cleared: a drain ends with the process.
        self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """Is the server shutting down?"""
        return self._has_begun

    def begin(self) -> None:
        """Accept no new work from now on."""
        self._has_begun = True
