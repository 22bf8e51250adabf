"""The server, from its first file to its last connection: a table of contents.

Everything is opened in the order in which it is needed and closed in reverse:

    key file, database            store/
    sockets                       listening, but nobody is accepted yet
    hub, registry                 who is connected, who may connect
    websockets, HTTP application     what serves them
    front door                    accepts

A shutdown (SIGTERM, SIGINT) leaves these blocks from the inside to the outside; see `_drain`.
"""

import gc
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog
import trio

from ryze import __version__
from ryze.access.rate_limits import RateLimits
from ryze.access.upgrades import UpgradeAdmission
from ryze.api.application import create_app
from ryze.api.services import Services
from ryze.api.streamed_body import Streams
from ryze.errors import RyzeError, StartError
from ryze.exception_groups import first_leaf
from ryze.first_start import ensure_account, first_steps
from ryze.hub.hub import Hub
from ryze.hub.outbox import OutboxLimits
from ryze.instances.registry import Registry
from ryze.publishing.publisher import Publisher
from ryze.server.acceptor import Acceptor, allow_all_descriptors
from ryze.server.dispatcher import Dispatcher
from ryze.server.hypercorn_connection import HttpServer
from ryze.settings import Settings
from ryze.signals import stop_on_signal
from ryze.store import Database, TokenCipher, load_key, open_database
from ryze.telemetry.logging import configure_logging
from ryze.telemetry.scheduler_lag import SchedulerLag
from ryze.telemetry.service_manager import READY, STOPPING, Notifier
from ryze.websocket.connection import ConnectionLimits
from ryze.websocket.server import WebSocketLimits, WebSocketServer

__all__ = ["Running", "run", "serve"]

# What of the time for a drain is kept for leaving, when those who still do not read are cut off:
# this part of it, or so long for each of them where they are many; but never more than half.
_LEAVING_SHARE = 0.1
_LEAVING_SECONDS_EACH = 0.001

# Connections are long-lived and have few cycles: with the usual thresholds, ten thousand of them
# are walked through again and again, a quarter of the time that it takes to accept them.
_GC_THRESHOLDS = (10_000, 20, 50)

# Who to tell where nobody has asked to be told.
_NOBODY = Notifier()

_log = structlog.get_logger("ryze")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is up.

    Args:
        settings: as they came out, with the address that clients use.
        hub: who is connected, for who wants to watch it (``ryze demo``).
    """

    settings: Settings
    hub: Hub


def run(settings: Settings, notify_socket: str = "") -> None:
    """Run a server until it is told to stop (SIGTERM or SIGINT) and has drained.

    A second signal ends it at once, with exit code 1. Signals that the caller has blocked are
    waited for: one that came before us is not lost.

    Args:
        settings: see there.
        notify_socket: where a service manager wants to be told that it runs; see `Notifier`.

    Raises:
        RyzeError: it cannot start; the message says why.
    """
    configure_logging(settings.log_level, settings.log_format)
    gc.set_threshold(*_GC_THRESHOLDS)
    allow_all_descriptors()
    try:
        trio.run(_run_until_signal, settings, Notifier(notify_socket))
    except* RyzeError as errors:
        # A start fails for one reason, however many nurseries it comes through.
        raise first_leaf(errors) from None


def _print(text: str) -> None:
    # Flushed: into a pipe or a file it would stay in the buffer, and the token with it.
    print(text, flush=True)


async def serve(
    settings: Settings,
    stop: trio.Event,
    *,
    announce: Callable[[str], None] = _print,
    notifier: Notifier = _NOBODY,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a server until `stop` is set and it has drained.

    Cancelling it ends everything without farewell; what was answered is stored all the same.

    Args:
        settings: see there.
        stop: tells it to drain.
        announce: is told what a person must know: the address, and a new token once.
        notifier: is told when it serves, and when it stops.
        task_status: started once connections are accepted.

    Raises:
        RyzeError: it cannot start.
    """
    key = load_key(settings.encryption_key, settings.data_dir)
    if key.created:
        announce(f"Made an encryption key: {key.path} (keep a copy: tokens are sealed with it)")
    async with (
        open_database(settings.database_url, exclusive=True) as database,
        _listening(settings) as (listeners, settings),
    ):
        token = await ensure_account(database, settings.account_token)
        hub = Hub(settings.base_url, settings.max_frame_bytes)
        publisher = Publisher(hub)
        registry = await Registry.load(database, TokenCipher(*key.keys))
        registry.add_follower(hub.follow)
        lag = SchedulerLag()
        websockets, door = _assemble(settings, database, hub, publisher, registry, lag)
        async with _background(hub, registry, lag), trio.open_nursery() as connections:
            async with trio.open_nursery() as listening:
                acceptor = Acceptor(door.serve, door.make_room)
                await listening.start(acceptor.accept, listeners, connections)
                announce(first_steps(settings, token))
                _log.info("started", url=settings.base_url, version=__version__)
                notifier.tell(READY)
                task_status.started(Running(settings, hub))
                await stop.wait()
                notifier.tell(STOPPING)
                await _drain(settings, websockets, door)
                listening.cancel_scope.cancel()
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


def _assemble(
    settings: Settings,
    database: Database,
    hub: Hub,
    publisher: Publisher,
    registry: Registry,
    lag: SchedulerLag,
) -> tuple[WebSocketServer, Dispatcher]:
    """Put together what serves connections; nothing is opened here."""
    rate_limits = RateLimits(
        {
            "global": settings.global_rate_limit,
            "create": settings.create_rate_limit,
            "publish": settings.publish_rate_limit,
        }
    )
    desk = UpgradeAdmission(registry, rate_limits, settings.allowed_origins)
    websockets = WebSocketServer(
        hub, publisher, desk.admit, _gateway_limits(settings), compression=settings.compression
    )
    streams = Streams()
    services = Services(
        settings,
        database,
        hub,
        publisher,
        registry,
        rate_limits,
        websockets,
        streams,
        lag,
        trio.current_time(),
    )
    http = HttpServer(create_app(services), streams, settings)
    return websockets, Dispatcher(http, websockets, settings, _tls(settings))


def _gateway_limits(settings: Settings) -> WebSocketLimits:
    subscriber = ConnectionLimits(
        OutboxLimits(settings.client_buffer_messages, settings.client_buffer_bytes),
        settings.ping_interval_seconds,
        settings.pong_timeout_seconds,
        settings.close_grace_seconds,
        settings.max_client_message_bytes,
    )
    return WebSocketLimits(
        subscriber,
        replace(subscriber, message_bytes=settings.max_body_bytes),
        settings.max_connections,
        settings.max_connections_per_instance,
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # No HTTP/2: browsers would tunnel WebSockets through it.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise StartError(
            f"RYZE_TLS_CERT and RYZE_TLS_KEY are not a certificate and its key: {error}"
        ) from error
    return context


@asynccontextmanager
async def _listening(
    settings: Settings,
) -> AsyncIterator[tuple[list[trio.SocketListener], Settings]]:
    """The open port, and the settings with the base URL that it gives."""
    try:
        listeners = await trio.open_tcp_listeners(settings.port, host=settings.host)
    except OSError as error:
        raise StartError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}"
            " (choose another with --port)"
        ) from error
    port = listeners[0].socket.getsockname()[1]
    try:
        yield listeners, settings.with_address(settings.host, port)
    finally:
        for listener in listeners:
            listener.socket.close()


@asynccontextmanager
async def _background(hub: Hub, registry: Registry, lag: SchedulerLag) -> AsyncIterator[None]:
    """What runs behind all connections, from before the first until after the last."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        nursery.start_soon(registry.watch)
        nursery.start_soon(lag.watch)
        yield
        nursery.cancel_scope.cancel()


async def _drain(settings: Settings, websockets: WebSocketServer, door: Dispatcher) -> None:
    """See everybody off, within the time for a drain whatever any peer does.

    The door stays open meanwhile: who comes now is told so (503) instead of being left to
    guess why nobody answers.
    """
    seconds = settings.drain_seconds
    leaving = max(_LEAVING_SHARE * seconds, _LEAVING_SECONDS_EACH * websockets.connections)
    deadline = trio.current_time() + seconds - min(leaving, seconds / 2)
    with trio.move_on_at(deadline):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websockets.drain, deadline)
            nursery.start_soon(door.drain)
    door.abort()
