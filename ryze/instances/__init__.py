"""Accounts and instances in memory, and every change of them."""

__all__: list[str] = []
