"""Counters of events, connections and refusals, as plain numbers (see `ryze.telemetry.histogram`).

Everything counts from the start of the server. `ryze.telemetry.metrics` exports it.
"""

from collections import Counter

from ryze import disconnects
from ryze.errors import TOO_MANY_CONNECTIONS
from ryze.telemetry.histogram import Histogram

__all__ = ["HubCounters", "RefusalCounters", "WebSocketCounters"]

_FLUSH_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_FLUSH_EVENTS = (1, 2, 4, 8, 16, 32, 64)


class HubCounters:
    """Events in the hub."""

    __slots__ = (
        "delivered",
        "disabled",
        "filtered",
        "flush_events",
        "flush_lag",
        "flush_seconds",
        "nobody_connected",
        "published",
    )

    def __init__(self) -> None:
        # Events that producers have published, discarded ones included.
        self.published = 0
        # Discarded events: no subscriber connected, the WebSocket disabled, excluded by a filter.
        self.nobody_connected = self.disabled = self.filtered = 0
        # Events accepted by outboxes, counted once per subscriber.
        self.delivered = 0
        # Per batch of the flush: its events, and the seconds from its first subscriber to its
        # last. A batch that a lone producer hands to the subscribers itself is not included.
        self.flush_events = Histogram(_FLUSH_EVENTS)
        self.flush_seconds = Histogram(_FLUSH_SECONDS)
        # Seconds from a batch's first event until the flush takes it up.
        self.flush_lag = Histogram(_FLUSH_SECONDS)


class WebSocketCounters:
    """WebSockets opened and ended."""

    __slots__ = ("disconnected", "lost", "opened")

    def __init__(self) -> None:
        # Connections opened, by role.
        self.opened = Counter({"subscriber": 0, "producer": 0})
        # Connections ended, by the metric label of their `Disconnect`.
        self.disconnected = Counter({each.metric_label: 0 for each in disconnects.ALL})
        # Events that were pending for a subscriber when its connection ended.
        self.lost = 0


class RefusalCounters:
    """Connections and upgrade requests that were refused; reasons are those of `ErrorKind`."""

    __slots__ = ("http_connections", "upgrades")

    def __init__(self) -> None:
        # HTTP connections refused at their cap, by reason.
        self.http_connections: Counter[str] = Counter({TOO_MANY_CONNECTIONS.reason: 0})
        # Upgrade requests refused, by status and reason. A connection that begins with
        # "GET /ws/" counts as one, also if its request head is malformed, too large or too late.
        self.upgrades: Counter[tuple[int, str]] = Counter()
