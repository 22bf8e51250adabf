"""Environment of the demo: the plan, a temporary server, its instances."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from ryze import app, client
from ryze.hub.hub import Hub
from ryze.playground.demo.dashboard import Dashboard
from ryze.settings import Settings

__all__ = ["DemoServer", "Environment", "Instance", "Plan", "create_instance", "run_server"]


@dataclass(frozen=True)
class Plan:
    """Timing and load of the demo.

    Args:
        seconds: duration of the demo.
        rate: events per second of the busy producer; the other one has a tenth of it.
        media_bytes: size of an image. The operating system buffers some of them between server
            and subscriber; that buffer must be full before anything is pending in the server.
        first_pause_seconds: when the slow subscriber stops reading for the first time. It reads
            again when half of the limit is pending, and catches up.
        second_pause_seconds: how long after that it stops reading for the second time, until it
            is evicted.
        detection_seconds: from the eviction until the subscriber reads the close frame; less than
            the close grace.
        reconnect_seconds: from then until it reconnects.
    """

    seconds: float = 60.0
    rate: float = 80.0
    media_bytes: int = 20_000
    first_pause_seconds: float = 6.0
    second_pause_seconds: float = 12.0
    detection_seconds: float = 1.0
    reconnect_seconds: float = 2.0

    @classmethod
    def for_duration(cls, seconds: float) -> "Plan":
        """Make the default plan for a duration; shorter than a minute, its pauses come earlier."""
        scale = min(1.0, seconds / cls.seconds)
        return cls(
            seconds,
            first_pause_seconds=cls.first_pause_seconds * scale,
            second_pause_seconds=cls.second_pause_seconds * scale,
        )


@dataclass(frozen=True)
class DemoServer:
    """Running server: its URL, a TokenAccount, and its hub."""

    url: str
    token: str
    hub: Hub


@dataclass(frozen=True)
class Instance:
    """Created instance with its TokenInstance."""

    name: str
    token: str


@asynccontextmanager
async def run_server(directory: Path) -> AsyncIterator[DemoServer]:
    """Run a server on a free port while the block runs; then drain it."""
    settings = Settings(
        port=0,
        data_dir=directory,
        # Short, as it is displayed; valid for the duration of the demo, on this machine.
        account_token=f"demo-{secrets.token_hex(6)}",
        close_grace_seconds=5,
        drain_seconds=2,
    )
    stop = trio.Event()
    serve = partial(app.serve, settings, stop, announce=lambda _line: None)
    async with trio.open_nursery() as nursery:
        running: app.Running = await nursery.start(serve)
        settings = running.settings
        yield DemoServer(settings.base_url, settings.account_token, running.hub)
        stop.set()


async def create_instance(server: DemoServer, name: str, **settings: Any) -> Instance:
    """Create an instance over HTTP, with its WebSocket enabled."""
    body = msgspec.json.encode({"name": name, "websocketEnabled": True, **settings})
    path = ("api", "instance", "new")
    request = partial(client.request, "POST", server.url, path, token=server.token, body=body)
    response = await trio.to_thread.run_sync(request)
    return Instance(name, response["instance"]["token"])


@dataclass(frozen=True)
class Environment:
    """Shared state of all producers and subscribers."""

    plan: Plan
    server: DemoServer
    dashboard: Dashboard
