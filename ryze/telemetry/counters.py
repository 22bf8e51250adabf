"""What the heart counts since its start, as plain numbers (see `ryze.telemetry.histogram`)."""

from collections import Counter

from ryze import disconnects
from ryze.telemetry.histogram import Histogram

__all__ = ["HubCounters", "WebSocketCounters"]

_FLUSH_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_FLUSH_EVENTS = (1, 2, 4, 8, 16, 32, 64)


class HubCounters:
    """Events on their way through the hub."""

    __slots__ = (
        "delivered",
        "disabled",
        "filtered",
        "flush_events",
        "flush_lag",
        "flush_seconds",
        "nobody",
        "published",
    )

    def __init__(self) -> None:
        # Events that producers have published, whatever came of them.
        self.published = 0
        # Of these, those that nobody got: no client there, the WebSocket disabled, not asked for.
        self.nobody = self.disabled = self.filtered = 0
        # Events that clients have accepted, one for each client.
        self.delivered = 0
        # Of each batch of the flush: its events, and the seconds from its first client to its
        # last. What a lone publisher hands out on the spot is not among them.
        self.flush_events = Histogram(_FLUSH_EVENTS)
        self.flush_seconds = Histogram(_FLUSH_SECONDS)
        # Seconds from a batch's first event until the flush took it up.
        self.flush_lag = Histogram(_FLUSH_SECONDS)


class WebSocketCounters:
    """WebSockets that came, were refused and went."""

    __slots__ = ("disconnected", "lost", "opened", "refused")

    def __init__(self) -> None:
        # Connections that were opened, by role.
        self.opened = Counter(dict.fromkeys(("subscriber", "publisher"), 0))
        # Connections that have ended, by what ended them.
        self.disconnected = Counter({each.metric_label: 0 for each in disconnects.ALL})
        # Events that clients had accepted and that were pending when their connection ended.
        self.lost = 0
        # Requests for a WebSocket that were not granted, and HTTP connections over their cap; by
        # status and reason.
        self.refused: Counter[tuple[int, str]] = Counter()
