"""Short ways to publish to a hub, and to tell it of changes."""

from collections.abc import Sequence
from dataclasses import replace

from ryze.changes import SettingsChanged, WebsocketConfigured
from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.publishing.publisher import Publisher
from ryze.records import InstanceSettings, WebsocketConfig
from tests.fakes import make_instance

__all__ = ["change_settings", "configure", "publish"]


async def publish(hub: Hub, instance_id: int, events: Sequence[Event]) -> int:
    return await Publisher(hub).publish(make_instance(instance_id), events)


def configure(hub: Hub, instance_id: int, config: WebsocketConfig) -> None:
    hub.follow(WebsocketConfigured(make_instance(instance_id, config)))


def change_settings(hub: Hub, instance_id: int, settings: InstanceSettings) -> None:
    hub.follow(SettingsChanged(replace(make_instance(instance_id), settings=settings)))
