"""Subscribers of a hub, short ways to publish to it and to tell it of changes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import trio

from ryze.changes import SettingsChanged, WebsocketConfigured
from ryze.events.event import Event
from ryze.hub.hub import Hub, HubStatistics
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.publishing.publisher import Publisher
from ryze.records import InstanceSettings, WebsocketConfig
from ryze.websocket.encodings import DEFLATED, PLAIN
from tests.fakes import FakeTransport, make_instance, server_frames

__all__ = [
    "NOBODY",
    "Client",
    "change_settings",
    "configure",
    "flushes",
    "number",
    "numbers",
    "publish",
]

NOBODY = HubStatistics(0, 0, 0, 0, 0, 0)


class Client:
    """A subscriber: a real outbox on a fake wire."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        room: float = float("inf"),
        limits: OutboxLimits | None = None,
        compressed: bool = False,
    ) -> None:
        self.transport = FakeTransport(room)
        self.outbox = Outbox(
            self.transport,
            limits or OutboxLimits(),
            DEFLATED if compressed else PLAIN,
            start_writer=lambda: nursery.start_soon(self.outbox.write),
            on_close=lambda: None,
        )

    @property
    def documents(self) -> list[bytes]:
        """The whole text messages that have arrived."""
        return [f.payload for f in server_frames(self.transport.taken)[0] if f.opcode == 1]

    @property
    def data(self) -> list[Any]:
        return [msgspec.json.decode(document)["data"] for document in self.documents]


def flushes(hub: Hub) -> int:
    """Batches that were flushed."""
    return list(hub.counters.flush_events.cumulative())[-1][1]


def number(n: int, *, type: Any = "call.update", padding: int = 0) -> Event:
    return Event(type, b'{"n":%d,"p":"%b"}' % (n, b"x" * padding))


def numbers(client: Client) -> list[int]:
    return [data["n"] for data in client.data]


async def publish(hub: Hub, instance_id: int, events: Sequence[Event]) -> int:
    return await Publisher(hub).publish(make_instance(instance_id), events)


def configure(hub: Hub, instance_id: int, config: WebsocketConfig) -> None:
    hub.follow(WebsocketConfigured(make_instance(instance_id, config)))


def change_settings(hub: Hub, instance_id: int, settings: InstanceSettings) -> None:
    hub.follow(SettingsChanged(replace(make_instance(instance_id), settings=settings)))
