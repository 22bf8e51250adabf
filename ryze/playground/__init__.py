"""Made-up traffic to see Ryze at work: ``ryze demo``, ``ryze simulate``."""

__all__: list[str] = []
