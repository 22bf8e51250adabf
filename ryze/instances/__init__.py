"""Accounts and instances.

registry   all of them in memory, every change of them, and the feed of these changes
"""

__all__: list[str] = []
