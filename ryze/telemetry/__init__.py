"""Telemetry: logs, metrics and the service manager.

logging           one form for our log lines and those of libraries; secrets are masked
counters          plain numbers that the rooms add to
histogram         counts between fixed bounds
scheduler_lag     how late Trio's scheduler runs tasks
metrics           the table of all metrics, read at a scrape
service_manager   READY and STOPPING for systemd
"""

__all__: list[str] = []
