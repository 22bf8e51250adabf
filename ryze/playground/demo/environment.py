"""Where it plays: the plan, a server of its own, and what every actor needs."""

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
from ryze.playground.demo.dashboard import Board
from ryze.settings import Settings

__all__ = ["Instance", "Plan", "RunningServer", "Stage", "create_instance", "serving"]


@dataclass(frozen=True)
class Plan:
    """What happens when, and how much of it.

    Args:
        seconds: how long the demo takes.
        rate: events a second of the busy phone; the other one has a tenth of it.
        media_bytes: the size of a picture. The operating system buffers some of them between
            server and listener; it must be full before anything waits in the server's own queue.
        nod_seconds: when the sleepy listener stops reading for the first time. It wakes up when
            half of its queue is full, and catches up.
        sleep_seconds: how long after that it stops reading for the second time. It sleeps on
            until it has been dropped.
        wake_seconds: from being dropped to noticing it; less than the close grace.
        return_seconds: from noticing it to coming back.
    """

    seconds: float = 60.0
    rate: float = 80.0
    media_bytes: int = 20_000
    nod_seconds: float = 6.0
    sleep_seconds: float = 12.0
    wake_seconds: float = 1.0
    return_seconds: float = 2.0

    @classmethod
    def of(cls, seconds: float) -> "Plan":
        """The usual plan; a short demo has less time between its events."""
        haste = min(1.0, seconds / cls.seconds)
        return cls(seconds, nod_seconds=6 * haste, sleep_seconds=12 * haste)


@dataclass(frozen=True)
class RunningServer:
    """A server that is up: where, with which TokenAccount, and its hub."""

    url: str
    token: str
    hub: Hub


@dataclass(frozen=True)
class Instance:
    """An instance that has been created, and its own token."""

    name: str
    token: str


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[RunningServer]:
    """A server while inside; then it sees everybody off and ends."""
    settings = Settings(
        port=0,
        data_dir=directory,
        # Short, so that it can be shown; good for a minute, on this machine.
        account_token=f"demo-{secrets.token_hex(6)}",
        close_grace_seconds=5,
        drain_seconds=2,
    )
    stop = trio.Event()
    serve = partial(app.serve, settings, stop, announce=lambda _line: None)
    async with trio.open_nursery() as nursery:
        up: app.Running = await nursery.start(serve)
        yield RunningServer(up.settings.base_url, up.settings.account_token, up.hub)
        stop.set()


async def create_instance(server: RunningServer, name: str, **how: Any) -> Instance:
    """Create an instance over HTTP; its WebSocket is on."""
    body = msgspec.json.encode({"name": name, "websocketEnabled": True, **how})
    path = ("api", "instance", "new")
    ask = partial(client.request, "POST", server.url, path, token=server.token, body=body)
    answer = await trio.to_thread.run_sync(ask)
    return Instance(name, answer["instance"]["token"])


@dataclass(frozen=True)
class Stage:
    """What every actor needs."""

    plan: Plan
    server: RunningServer
    board: Board
