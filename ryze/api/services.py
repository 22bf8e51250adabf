"""The long-lived objects that request handlers use, attached to the HTTP application."""

from dataclasses import dataclass
from typing import cast

from quart import current_app

from ryze.access.drain_flag import DrainFlag
from ryze.access.rate_limits import RateLimits
from ryze.api.streamed_body import Streams
from ryze.instances.registry import Registry
from ryze.publishing.publisher import Publisher
from ryze.settings import Settings
from ryze.store import Database
from ryze.telemetry.metrics import MetricSources

__all__ = ["Services", "services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The objects of one server; each is documented in its class.

    Args:
        started_at: on Trio's clock, in seconds.
    """

    settings: Settings
    database: Database
    publisher: Publisher
    registry: Registry
    rate_limits: RateLimits
    streams: Streams
    drain: DrainFlag
    metrics: MetricSources
    started_at: float


def services() -> Services:
    """Return the services of the application that handles the current request."""
    return cast(Services, current_app.extensions["ryze"])
