"""Generated traffic for demonstrations and load: ``ryze demo``, ``ryze simulate``."""

__all__: list[str] = []
