"""Telemetry: logging, metrics, scheduler lag, notifications to the service manager."""

__all__: list[str] = []
