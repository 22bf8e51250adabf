"""What `/metrics` tells: one table, and each figure read at the moment of the scrape.

Nothing is stored here, and nothing is global: the parts of the server count for themselves, in
plain integers (`ryze.telemetry.histogram`), and a row of the table says where a metric finds its
figures. Names and units follow Prometheus' conventions. No metric has an instance or an account
for a label: there can be a hundred thousand of them, and who may scrape need not know their names.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ryze import __version__
from ryze.api.services import Services
from ryze.telemetry.histogram import Histogram

__all__ = ["METRICS", "MetricRow", "metrics_registry"]

# What may be pending for a client: 256 is where it is dropped, unless the settings say otherwise.
_PENDING = (0, 1, 4, 16, 64, 128, 192, 255)

# The values of a metric's labels, and its figure for them.
_Sample = tuple[Sequence[str], float]


def metrics_registry(services: Services) -> CollectorRegistry:
    """All metrics of one server, those of its process included."""
    registry = CollectorRegistry()
    registry.register(_Collector(services))
    ProcessCollector(registry=registry)
    return registry


class _Collector(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        for row in METRICS:
            yield row.make(self._services)


# --- The kinds of rows ---


@dataclass(frozen=True)
class MetricRow:
    """One row of the table.

    Args:
        name: the metric, as Prometheus shows it.
        kind: counter, gauge, histogram, or a gauge histogram: how something is spread now.
        labels: what tells its figures apart.
        help: what it is, in one sentence.
        make: reads the figures.
    """

    name: str
    kind: str
    labels: Sequence[str]
    help: str
    make: Callable[[Services], Metric]


def _figures(
    kind: str,
    name: str,
    help: str,
    labels: Sequence[str],
    read: Callable[[Services], Iterable[_Sample]],
) -> MetricRow:
    new_family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily

    def make(services: Services) -> Metric:
        family = new_family(name, help, labels=labels)
        for values, figure in read(services):
            family.add_metric(values, figure)
        return family

    return MetricRow(name, kind, labels, help, make)


def _figure(kind: str, name: str, help: str, read: Callable[[Services], float]) -> MetricRow:
    return _figures(kind, name, help, (), lambda services: [((), read(services))])


def _histogram(name: str, help: str, read: Callable[[Services], Histogram]) -> MetricRow:
    def make(services: Services) -> Metric:
        values = read(services)
        return HistogramMetricFamily(name, help, _buckets(values), values.total)

    return MetricRow(name, "histogram", (), help, make)


def _gauge_histogram(name: str, help: str, read: Callable[[Services], Histogram]) -> MetricRow:
    def make(services: Services) -> Metric:
        values = read(services)
        return GaugeHistogramMetricFamily(name, help, _buckets(values), values.total)

    return MetricRow(name, "gauge histogram", (), help, make)


def _buckets(values: Histogram) -> list[tuple[str, float]]:
    return [
        ("+Inf" if bound == inf else str(float(bound)), count)
        for bound, count in values.cumulative()
    ]


# --- Where the figures are ---


def _discarded(services: Services) -> Iterable[_Sample]:
    counters = services.hub.counters
    return [
        (["nobody connected"], counters.nobody),
        (["disabled"], counters.disabled),
        (["filtered"], counters.filtered),
    ]


def _pending(services: Services) -> Histogram:
    pending = Histogram(_PENDING)
    for outbox in services.hub.outboxes():
        pending.observe(outbox.pending)
    return pending


def _connections(services: Services) -> Iterable[_Sample]:
    by_role = services.websockets.connections_by_role()
    return [([role], by_role[role]) for role in services.websockets.counters.opened]


def _by_one(counts: dict[str, int]) -> Iterable[_Sample]:
    return [([value], count) for value, count in counts.items()]


def _refused(services: Services) -> Iterable[_Sample]:
    refused = services.websockets.counters.refused
    return [([str(status), reason], count) for (status, reason), count in refused.items()]


METRICS = (
    _figures(
        "gauge",
        "ryze_build_info",
        "1, with the version.",
        ["version"],
        lambda _: [([__version__], 1)],
    ),
    _figures("gauge", "ryze_connections", "Open WebSockets.", ["role"], _connections),
    _figures(
        "counter",
        "ryze_connections_opened_total",
        "WebSockets opened.",
        ["role"],
        lambda services: _by_one(services.websockets.counters.opened),
    ),
    _figures(
        "counter",
        "ryze_disconnects_total",
        "WebSockets that have ended, by what ended them.",
        ["reason"],
        lambda services: _by_one(services.websockets.counters.disconnected),
    ),
    _figures(
        "counter",
        "ryze_upgrades_refused_total",
        "Requests for a WebSocket that were refused, and HTTP connections over their cap.",
        ["status", "reason"],
        _refused,
    ),
    _figure(
        "counter",
        "ryze_events_published_total",
        "Events from producers.",
        lambda services: services.hub.counters.published,
    ),
    _figures(
        "counter",
        "ryze_events_discarded_total",
        "Published events that nobody was to get.",
        ["reason"],
        _discarded,
    ),
    _figure(
        "counter",
        "ryze_events_delivered_total",
        "Events handed to clients, counted once for each client.",
        lambda services: services.hub.counters.delivered,
    ),
    _figure(
        "counter",
        "ryze_events_lost_total",
        "Events that were pending for a client when its connection ended.",
        lambda services: services.websockets.counters.lost,
    ),
    _gauge_histogram(
        "ryze_client_pending_events", "Events pending for a client, over all clients.", _pending
    ),
    _figure(
        "gauge",
        "ryze_pending_bytes",
        "Bytes pending, over all clients; what clients share counts for each.",
        lambda services: sum(outbox.pending_bytes for outbox in services.hub.outboxes()),
    ),
    _histogram(
        "ryze_flush_duration_seconds",
        "From a batch's first client to its last.",
        lambda services: services.hub.counters.flush_seconds,
    ),
    _histogram(
        "ryze_flush_events",
        "Events in a batch.",
        lambda services: services.hub.counters.flush_events,
    ),
    _histogram(
        "ryze_flush_lag_seconds",
        "From a batch's first event until the flush took it up.",
        lambda services: services.hub.counters.flush_lag,
    ),
    _figures(
        "counter",
        "ryze_rate_limited_requests_total",
        "Requests over a rate limit.",
        ["limit"],
        lambda services: _by_one(services.rate_limits.exceeded),
    ),
    _figures(
        "counter",
        "ryze_database_errors_total",
        "Failures of the database.",
        ["operation"],
        lambda services: _by_one(services.database.errors),
    ),
    _histogram(
        "ryze_scheduler_lag_seconds",
        "How late tasks wake.",
        lambda services: services.scheduler_lag.seconds,
    ),
)
