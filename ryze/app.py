"""Start, run and stop a server.

Everything is opened in dependency order and closed in reverse:

    key file, database             store/
    listeners                      listening; nothing is accepted yet
    registry, hub                  instances and tokens; subscribers
    WebSocket server, Quart app    serve connections
    acceptor, dispatcher           accept connections and dispatch them

A shutdown (SIGTERM, SIGINT) leaves these blocks from the innermost to the outermost, see `serve`
and `_drain`.
"""

import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog
import trio

from ryze import __version__
from ryze.access.caps import ConnectionCaps
from ryze.access.drain_flag import DrainFlag
from ryze.access.rate_limits import RateLimits
from ryze.access.upgrades import UpgradeAdmission
from ryze.api.application import create_app
from ryze.api.services import Services
from ryze.api.streamed_body import Streams
from ryze.errors import RyzeError
from ryze.exception_groups import first_leaf
from ryze.first_start import ensure_account, first_steps
from ryze.hub.hub import Hub
from ryze.hub.outbox import OutboxLimits
from ryze.instances.registry import Registry
from ryze.publishing.publisher import Publisher
from ryze.server.acceptor import Acceptor, allow_all_descriptors
from ryze.server.dispatcher import Dispatcher
from ryze.server.hypercorn_connection import HttpContext
from ryze.server.listeners import open_listeners
from ryze.server.tls import load_tls_context
from ryze.server.trusted_proxies import TrustedProxies
from ryze.settings import Settings
from ryze.signals import stop_on_signal
from ryze.store import Database, TokenCipher, load_key, open_database
from ryze.telemetry.counters import RefusalCounters
from ryze.telemetry.logging import configure_logging
from ryze.telemetry.metrics import MetricSources
from ryze.telemetry.scheduler_lag import SchedulerLag
from ryze.telemetry.service_manager import READY, STOPPING, Notifier
from ryze.websocket.connection import ConnectionLimits
from ryze.websocket.server import WebSocketLimits, WebSocketServer

__all__ = ["Running", "run", "serve"]

# Share of the drain time reserved for cutting off peers that do not read, or so many seconds for
# each WebSocket if that is more; never more than half.
_CUT_OFF_SHARE = 0.1
_CUT_OFF_SECONDS_EACH = 0.001

# Connections are long-lived and have few cycles: with the default thresholds, the collector
# traverses ten thousand of them again and again, for a quarter of the time it takes to accept them.
_GC_THRESHOLDS = (10_000, 20, 50)

_NO_SERVICE_MANAGER = Notifier()

_log = structlog.get_logger("ryze")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts connections.

    Args:
        settings: with the actual port and base URL.
        hub: to watch the subscribers (``ryze demo``).
    """

    settings: Settings
    hub: Hub


def run(settings: Settings, notify_socket: str = "") -> None:
    """Run a server until SIGTERM or SIGINT, and until it has drained.

    A second signal ends the process at once, with exit code 1. Signals may be blocked by the
    caller, see `ryze.signals.hold_stop_signals`.

    Args:
        settings: of the server.
        notify_socket: address of the service manager, see `Notifier`; empty: there is none.

    Raises:
        RyzeError: the server cannot start; the message says why.
    """
    configure_logging(settings.log_level, settings.log_format)
    gc.set_threshold(*_GC_THRESHOLDS)
    allow_all_descriptors()
    try:
        trio.run(_run_until_signal, settings, Notifier(notify_socket))
    except* RyzeError as errors:
        # A start fails for one reason, however many nurseries wrap it.
        raise first_leaf(errors) from None


def _print(text: str) -> None:
    # Flushed: in a pipe or a file the token would stay in the buffer.
    print(text, flush=True)


async def serve(
    settings: Settings,
    stop: trio.Event,
    *,
    announce: Callable[[str], None] = _print,
    notifier: Notifier = _NO_SERVICE_MANAGER,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a server until `stop` is set and it has drained.

    Cancelling it ends all connections without a closing handshake; acknowledged changes are stored
    all the same.

    Args:
        settings: of the server.
        stop: begins the drain.
        announce: shows a text to the operator: the address, and a new token once.
        notifier: tells the service manager when the server is ready, and when it stops.
        task_status: started once connections are accepted.

    Raises:
        RyzeError: the server cannot start.
    """
    key = load_key(settings.encryption_key, settings.data_dir)
    if key.created:
        announce(f"Made an encryption key: {key.path} (keep a copy: tokens are sealed with it)")
    async with (
        open_database(settings.database_url, exclusive=True) as database,
        open_listeners(settings.host, settings.port) as listeners,
    ):
        settings = settings.with_address(settings.host, _port_of(listeners))
        token = await ensure_account(database, settings.account_token)
        hub = Hub(settings.base_url, settings.max_frame_bytes)
        publisher = Publisher(hub)
        registry = await Registry.load(database, TokenCipher(*key.keys))
        registry.add_follower(hub.follow)
        lag = SchedulerLag()
        drain, websockets, dispatcher = _assemble(settings, database, hub, publisher, registry, lag)
        async with _background(hub, registry, lag), trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                acceptor = Acceptor(dispatcher.serve, dispatcher.make_room)
                await accepting.start(acceptor.accept, listeners, connections)
                announce(first_steps(settings, token))
                _log.info("started", url=settings.base_url, version=__version__)
                notifier.notify(READY)
                task_status.started(Running(settings, hub))
                await stop.wait()
                notifier.notify(STOPPING)
                await _drain(settings, drain, websockets, dispatcher)
                accepting.cancel_scope.cancel()
            connections.cancel_scope.cancel()
    _log.info("stopped")


async def _run_until_signal(settings: Settings, notifier: Notifier) -> None:
    async with stop_on_signal(on_first=_log_stopping, on_repeat=_exit_at_once) as stop:
        await serve(settings, stop, notifier=notifier)


def _log_stopping(number: signal.Signals) -> None:
    _log.info("stopping", signal=number.name)


def _exit_at_once(number: signal.Signals) -> None:
    # No close frames, no waiting for threads.
    _log.warning("stopped at once", signal=number.name)
    os._exit(1)


def _port_of(listeners: list[trio.SocketListener]) -> int:
    port: int = listeners[0].socket.getsockname()[1]
    return port


def _assemble(
    settings: Settings,
    database: Database,
    hub: Hub,
    publisher: Publisher,
    registry: Registry,
    lag: SchedulerLag,
) -> tuple[DrainFlag, WebSocketServer, Dispatcher]:
    """Construct what serves connections; nothing is opened here."""
    drain = DrainFlag()
    caps = _connection_caps(settings)
    refusals = RefusalCounters()
    rate_limits = _rate_limits(settings)
    websockets = WebSocketServer(
        hub, publisher, _websocket_limits(settings), compression=settings.compression
    )
    admission = UpgradeAdmission(
        registry,
        rate_limits,
        settings.allowed_origins,
        drain,
        caps,
        hub,
        count_websockets=lambda: websockets.connections,
    )
    streams = Streams(drain)
    metrics = _metric_sources(hub, websockets, refusals, rate_limits, database, lag)
    services = Services(
        settings,
        database,
        publisher,
        registry,
        rate_limits,
        streams,
        drain,
        metrics,
        started_at=trio.current_time(),
    )
    proxies = TrustedProxies(settings.trusted_proxies)
    http = HttpContext(create_app(services), proxies, settings, end_streams=streams.end)
    tls = load_tls_context(settings.tls_cert, settings.tls_key)
    dispatcher = Dispatcher(http, websockets, admission.admit, refusals, caps, settings, tls)
    return drain, websockets, dispatcher


def _metric_sources(
    hub: Hub,
    websockets: WebSocketServer,
    refusals: RefusalCounters,
    rate_limits: RateLimits,
    database: Database,
    lag: SchedulerLag,
) -> MetricSources:
    return MetricSources(
        hub=hub.counters,
        websockets=websockets.counters,
        refusals=refusals,
        rate_limited=rate_limits.exceeded,
        database_errors=database.errors,
        scheduler_lag=lag.seconds,
        connections_by_role=websockets.connections_by_role,
        outboxes=hub.outboxes,
    )


def _rate_limits(settings: Settings) -> RateLimits:
    return RateLimits(
        {
            "global": settings.global_rate_limit,
            "create": settings.create_rate_limit,
            "publish": settings.publish_rate_limit,
        }
    )


def _connection_caps(settings: Settings) -> ConnectionCaps:
    return ConnectionCaps(
        http=settings.max_http_connections,
        websockets=settings.max_connections,
        websockets_per_instance=settings.max_connections_per_instance,
    )


def _websocket_limits(settings: Settings) -> WebSocketLimits:
    subscriber = ConnectionLimits(
        OutboxLimits(settings.client_buffer_messages, settings.client_buffer_bytes),
        settings.ping_interval_seconds,
        settings.pong_timeout_seconds,
        settings.close_grace_seconds,
        settings.max_client_message_bytes,
    )
    return WebSocketLimits(subscriber, replace(subscriber, message_bytes=settings.max_body_bytes))


@asynccontextmanager
async def _background(hub: Hub, registry: Registry, lag: SchedulerLag) -> AsyncIterator[None]:
    """Run the background tasks, from before the first connection until after the last."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        nursery.start_soon(registry.watch)
        nursery.start_soon(lag.run)
        yield
        nursery.cancel_scope.cancel()


async def _drain(
    settings: Settings, drain: DrainFlag, websockets: WebSocketServer, dispatcher: Dispatcher
) -> None:
    """Finish requests and close connections, within the drain time whatever any peer does.

    Connections are still accepted meanwhile, so that new requests get a 503 instead of silence.
    """
    seconds = settings.drain_seconds
    cut_off = max(_CUT_OFF_SHARE * seconds, _CUT_OFF_SECONDS_EACH * websockets.connections)
    deadline = trio.current_time() + seconds - min(cut_off, seconds / 2)
    drain.begin()
    with trio.move_on_at(deadline):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websockets.drain, deadline)
            nursery.start_soon(dispatcher.http_connections.drain)
    dispatcher.http_connections.abort()
