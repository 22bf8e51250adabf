"""The metrics of `/metrics`: one table; each figure is read at the time of the scrape.

Nothing is stored here, and nothing is global: the parts of the server count for themselves, in
plain numbers (`ryze.telemetry.counters`), and a row of the table says where a metric finds its
figures. Names and units follow Prometheus' conventions; label values are snake_case, of closed
sets. No metric has an instance or an account as a label: there can be a hundred thousand of them,
and a monitoring system need not know their names.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

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
from ryze.telemetry.counters import HubCounters, RefusalCounters, WebSocketCounters
from ryze.telemetry.histogram import Histogram

__all__ = ["METRICS", "MetricRow", "MetricSources", "metrics_registry"]

# Events pending per subscriber: 256 is where it is evicted, unless the settings say otherwise.
_PENDING = (0, 1, 4, 16, 64, 128, 192, 255)

# The label values of a metric, and its figure for them.
_Sample = tuple[Sequence[str], float]


class _Outbox(Protocol):
    @property
    def pending(self) -> int: ...

    @property
    def pending_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Sources of the figures of one server.

    Args:
        hub: of events.
        websockets: of connections.
        refusals: of connections and upgrade requests.
        rate_limited: requests over a rate limit, by its name.
        database_errors: failures of the database, by operation.
        scheduler_lag: in seconds.
        connections_by_role: counts the open WebSockets; roles without one may be missing.
        outboxes: returns those of all subscribers.
    """

    hub: HubCounters
    websockets: WebSocketCounters
    refusals: RefusalCounters
    rate_limited: Mapping[str, int]
    database_errors: Mapping[str, int]
    scheduler_lag: Histogram
    connections_by_role: Callable[[], Mapping[str, int]]
    outboxes: Callable[[], Iterable[_Outbox]]


def metrics_registry(sources: MetricSources) -> CollectorRegistry:
    """Return all metrics of one server, including those of its process."""
    registry = CollectorRegistry()
    registry.register(_Collector(sources))
    ProcessCollector(registry=registry)
    return registry


class _Collector(Collector):
    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        for row in METRICS:
            yield row.make(self._sources)


# --- The kinds of rows ---


@dataclass(frozen=True)
class MetricRow:
    """One row of the table.

    Args:
        name: of the metric, as exported.
        kind: counter, gauge, histogram, or gauge histogram: the distribution at this moment.
        labels: their names.
        help: one sentence.
        make: reads the figures.
    """

    name: str
    kind: str
    labels: Sequence[str]
    help: str
    make: Callable[[MetricSources], Metric]


def _figures(
    kind: str,
    name: str,
    help: str,
    labels: Sequence[str],
    read: Callable[[MetricSources], Iterable[_Sample]],
) -> MetricRow:
    new_family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily

    def make(sources: MetricSources) -> Metric:
        family = new_family(name, help, labels=labels)
        for values, figure in read(sources):
            family.add_metric(values, figure)
        return family

    return MetricRow(name, kind, labels, help, make)


def _figure(kind: str, name: str, help: str, read: Callable[[MetricSources], float]) -> MetricRow:
    return _figures(kind, name, help, (), lambda sources: [((), read(sources))])


def _histogram(name: str, help: str, read: Callable[[MetricSources], Histogram]) -> MetricRow:
    def make(sources: MetricSources) -> Metric:
        values = read(sources)
        return HistogramMetricFamily(name, help, _buckets(values), values.total)

    return MetricRow(name, "histogram", (), help, make)


def _gauge_histogram(name: str, help: str, read: Callable[[MetricSources], Histogram]) -> MetricRow:
    def make(sources: MetricSources) -> Metric:
        values = read(sources)
        return GaugeHistogramMetricFamily(name, help, _buckets(values), values.total)

    return MetricRow(name, "gauge histogram", (), help, make)


def _buckets(values: Histogram) -> list[tuple[str, float]]:
    return [
        ("+Inf" if bound == inf else str(float(bound)), count)
        for bound, count in values.cumulative()
    ]


# --- Reading the figures ---


def _discarded(sources: MetricSources) -> Iterable[_Sample]:
    return _by_label(
        {
            "nobody_connected": sources.hub.nobody_connected,
            "disabled": sources.hub.disabled,
            "filtered": sources.hub.filtered,
        }
    )


def _pending(sources: MetricSources) -> Histogram:
    pending = Histogram(_PENDING)
    for outbox in sources.outboxes():
        pending.observe(outbox.pending)
    return pending


def _connections(sources: MetricSources) -> Iterable[_Sample]:
    by_role = sources.connections_by_role()
    return [([role], by_role.get(role, 0)) for role in sources.websockets.opened]


def _refused_upgrades(sources: MetricSources) -> Iterable[_Sample]:
    refused = sources.refusals.upgrades
    return [([str(status), reason], count) for (status, reason), count in refused.items()]


def _by_label(counts: Mapping[str, int]) -> Iterable[_Sample]:
    return [([value], count) for value, count in counts.items()]


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
        lambda sources: _by_label(sources.websockets.opened),
    ),
    _figures(
        "counter",
        "ryze_disconnects_total",
        "WebSockets ended, by the cause of the end.",
        ["reason"],
        lambda sources: _by_label(sources.websockets.disconnected),
    ),
    _figures(
        "counter",
        "ryze_upgrades_refused_total",
        "Upgrade requests refused, malformed ones included.",
        ["status", "reason"],
        _refused_upgrades,
    ),
    _figures(
        "counter",
        "ryze_http_connections_refused_total",
        "HTTP connections refused because of their cap.",
        ["reason"],
        lambda sources: _by_label(sources.refusals.http_connections),
    ),
    _figure(
        "counter",
        "ryze_events_published_total",
        "Events from producers.",
        lambda sources: sources.hub.published,
    ),
    _figures(
        "counter",
        "ryze_events_discarded_total",
        "Published events without a recipient.",
        ["reason"],
        _discarded,
    ),
    _figure(
        "counter",
        "ryze_events_delivered_total",
        "Events accepted for subscribers, counted once per subscriber.",
        lambda sources: sources.hub.delivered,
    ),
    _figure(
        "counter",
        "ryze_events_lost_total",
        "Events pending for a subscriber when its connection ended.",
        lambda sources: sources.websockets.lost,
    ),
    _gauge_histogram(
        "ryze_client_pending_events", "Events pending per subscriber, at this moment.", _pending
    ),
    _figure(
        "gauge",
        "ryze_pending_bytes",
        "Bytes pending, over all subscribers; frames that they share count for each.",
        lambda sources: sum(outbox.pending_bytes for outbox in sources.outboxes()),
    ),
    _histogram(
        "ryze_flush_duration_seconds",
        "Time from the first subscriber of a batch to the last.",
        lambda sources: sources.hub.flush_seconds,
    ),
    _histogram(
        "ryze_flush_events",
        "Events per batch.",
        lambda sources: sources.hub.flush_events,
    ),
    _histogram(
        "ryze_flush_lag_seconds",
        "Time from the first event of a batch until the flush takes it up.",
        lambda sources: sources.hub.flush_lag,
    ),
    _figures(
        "counter",
        "ryze_rate_limited_requests_total",
        "Requests over a rate limit.",
        ["limit"],
        lambda sources: _by_label(sources.rate_limited),
    ),
    _figures(
        "counter",
        "ryze_database_errors_total",
        "Failures of the database.",
        ["operation"],
        lambda sources: _by_label(sources.database_errors),
    ),
    _histogram(
        "ryze_scheduler_lag_seconds",
        "Delay between the time a task is due and the time it runs.",
        lambda sources: sources.scheduler_lag,
    ),
)
