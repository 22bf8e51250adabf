"""Subscribers with a real outbox on a fake transport, and short ways to use a hub."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import trio

from ryze.changes import SettingsChanged, WebsocketConfigured
from ryze.events.event import Event
from ryze.hub.hub import Hub, HubStatistics
from ryze.hub.outbox import Outbox, OutboxLimits
from ryze.hub.view import View
from ryze.publishing.publisher import Publisher
from ryze.records import InstanceSettings, WebsocketConfig
from ryze.websocket.views import PLAIN
from tests.fakes import FakeTransport, make_instance, server_frames

__all__ = [
    "EMPTY_HUB",
    "FakeSubscriber",
    "change_settings",
    "configure",
    "count_flushed_batches",
    "numbered_event",
    "publish",
    "received_numbers",
]

# Statistics of a hub without subscribers.
EMPTY_HUB = HubStatistics(0, 0, 0, 0, 0, 0)


class FakeSubscriber:
    """A real outbox on a fake transport.

    Args:
        nursery: runs the writer of the outbox.
        transport: takes everything by default.
        limits: of the outbox.
        view: of the outbox.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        transport: FakeTransport | None = None,
        limits: OutboxLimits | None = None,
        view: View = PLAIN,
    ) -> None:
        self.transport = transport or FakeTransport()
        self.outbox = Outbox(
            self.transport,
            limits or OutboxLimits(),
            view,
            start_writer=lambda: nursery.start_soon(self.outbox.write),
            on_close=lambda: None,
        )

    @property
    def documents(self) -> list[bytes]:
        """Payloads of the text frames that were received completely."""
        return [f.payload for f in server_frames(self.transport.taken)[0] if f.opcode == 1]

    @property
    def data(self) -> list[Any]:
        return [msgspec.json.decode(document)["data"] for document in self.documents]


# Events that are told apart by a number


def numbered_event(n: int, *, type: Any = "call.update", padding: int = 0) -> Event:
    return Event(type, b'{"n":%d,"p":"%b"}' % (n, b"x" * padding))


def received_numbers(subscriber: FakeSubscriber) -> list[int]:
    return [data["n"] for data in subscriber.data]


# Operations on a hub


async def publish(hub: Hub, instance_id: int, events: Sequence[Event]) -> int:
    return await Publisher(hub).publish(make_instance(instance_id), events)


def configure(hub: Hub, instance_id: int, config: WebsocketConfig) -> None:
    hub.follow(WebsocketConfigured(make_instance(instance_id, config)))


def change_settings(hub: Hub, instance_id: int, settings: InstanceSettings) -> None:
    hub.follow(SettingsChanged(replace(make_instance(instance_id), settings=settings)))


def count_flushed_batches(hub: Hub) -> int:
    return list(hub.counters.flush_events.cumulative())[-1][1]
