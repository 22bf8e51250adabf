"""Ingest: how the bodies of producers become events."""

__all__: list[str] = []
