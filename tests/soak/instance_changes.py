"""Changes by the owner of instances: configurations change, instances are created and deleted."""

import random
from itertools import count

import trio

from ryze.events.event import EVENT_TYPES
from ryze.records import DISABLED, WebsocketConfig
from tests.soak.churning_subscribers import connect_subscriber
from tests.soak.healthy_subscribers import HealthySubscriber, HealthySubscribers
from tests.soak.instance import Instance
from tests.soak.producers import Producer, WebSocketSender
from tests.soak.server import Server
from tests.soak.violations import TIMEOUT_SECONDS, Violations, wait_until

__all__ = [
    "EVERYTHING",
    "create_instance",
    "run_config_changes",
    "run_temporary_instances",
    "set_config",
    "wait_settled",
]

EVERYTHING = WebsocketConfig(enabled=True, media_base64=True)

_PAUSE_SECONDS = (0.3, 3.0)
_DISABLED_SECONDS = (0.1, 1.0)
_DISABLED_SHARE = 0.2

# The events of a temporary instance: some batches, with all six types in each.
_TEMPORARY_BATCHES = 5
_TEMPORARY_BATCH_EVENTS = 12
_TEMPORARY_SUBSCRIBERS = 3


async def create_instance(
    server: Server, name: str, config: WebsocketConfig, *, can_be_disabled: bool = False
) -> Instance:
    """Create an instance with this configuration."""
    token = f"soak-token-of-{name}"
    response = await server.request(
        "POST",
        "/api/instance/new",
        {
            "name": name,
            "token": token,
            "websocketEnabled": config.enabled,
            "websocketEvents": config.events,
            "websocketMediaBase64": config.media_base64,
        },
    )
    assert response.status == 201, response
    return Instance(server, name, token, config, can_be_disabled=can_be_disabled)


async def set_config(instance: Instance, config: WebsocketConfig) -> None:
    """Configure the WebSocket of an instance, and check that it reads back unchanged."""
    was_disabled = not instance.timeline.may_be_enabled
    if was_disabled:
        instance.expected.write_off_pending()
    body = {
        "enabled": config.enabled,
        "events": list(config.events),
        "mediaBase64": config.media_base64,
    }
    instance.timeline.request(config)
    path = f"/api/events/websocket/{instance.name}"
    response = await instance.server.request("POST", path, body, token=instance.token)
    assert response.status == 200, response
    assert response.json["websocket"] == body, response
    instance.timeline.confirm()
    if was_disabled:
        # Events sent during the request may have been dropped, and no later event shows that.
        instance.expected.write_off_pending()
    path = f"/api/events/getWebsocket/{instance.name}"
    response = await instance.server.request("GET", path, token=instance.token)
    assert response.status == 200, response
    assert response.json["websocket"] == body, response


async def run_config_changes(
    instance: Instance, violations: Violations, rng: random.Random
) -> None:
    """Change the configuration now and then, until cancelled."""
    while True:
        with violations.recording(f"configuration of {instance.name}"):
            if instance.can_be_disabled and rng.random() < _DISABLED_SHARE:
                await _set_config_shielded(instance, DISABLED)
                violations.counts["configurations disabled"] += 1
                await trio.sleep(rng.uniform(*_DISABLED_SECONDS))
            await _set_config_shielded(instance, _random_config(rng))
            violations.counts["configurations changed"] += 1
        await trio.sleep(rng.uniform(*_PAUSE_SECONDS))


async def _set_config_shielded(instance: Instance, config: WebsocketConfig) -> None:
    # Without the response it would stay unknown which configuration is in force.
    with trio.CancelScope(shield=True), trio.fail_after(TIMEOUT_SECONDS):
        await set_config(instance, config)


def _random_config(rng: random.Random) -> WebsocketConfig:
    events = rng.sample(EVENT_TYPES, rng.randint(0, len(EVENT_TYPES)))
    return WebsocketConfig(True, tuple(events), rng.random() < 0.5)


async def run_temporary_instances(
    server: Server,
    subscribers: HealthySubscribers,
    violations: Violations,
    rng: random.Random,
    worker: int,
) -> None:
    """Create, use and delete one instance after the other, until cancelled."""
    for number in count():
        name = f"temporary-{worker}-{number}"
        with violations.recording(name):
            await _use_temporary_instance(server, subscribers, violations, rng, name)
            violations.counts["instances created and deleted"] += 1
        await trio.sleep(rng.uniform(*_DISABLED_SECONDS))


async def _use_temporary_instance(
    server: Server,
    subscribers: HealthySubscribers,
    violations: Violations,
    rng: random.Random,
    name: str,
) -> None:
    instance = await create_instance(server, name, _random_config(rng))
    connected: list[HealthySubscriber] = []
    try:
        for number in range(_TEMPORARY_SUBSCRIBERS):
            deflate = rng.random() < 0.15
            subscriber = await connect_subscriber(
                instance, subscribers, deflate=deflate, first=number == 0
            )
            assert subscriber is not None, "a subscriber is refused"
            connected.append(subscriber)
        sender = await WebSocketSender.open(instance)
        async with sender.stream, trio.open_nursery() as nursery:
            nursery.start_soon(sender.run)
            producer = Producer(sender, instance, violations)
            for _ in range(_TEMPORARY_BATCHES):
                await producer.publish(_TEMPORARY_BATCH_EVENTS)
                await trio.sleep(rng.uniform(0, 0.1))
            await sender.wait_published()
            await wait_settled(instance)
            for subscriber in connected:
                subscriber.allowed_close_codes = frozenset({4504})
            await _delete(instance)
            for subscriber in connected:
                with trio.fail_after(TIMEOUT_SECONDS):
                    await subscriber.ended.wait()
        # The nursery has waited until the server closed the producer's connection.
        assert sender.close_code == 4504, f"the producer ended with {sender.close_code}"
    finally:
        for subscriber in connected:
            subscribers.remove(subscriber)


async def wait_settled(instance: Instance) -> None:
    """Wait until all subscribers have all events; the last event must pass every filter."""
    await wait_until(lambda: instance.is_settled)
    instance.expected.check_complete()
    assert instance.is_settled, "not all subscribers received the same events"


async def _delete(instance: Instance) -> None:
    """Delete an instance, and check that nothing of it is left."""
    server = instance.server
    response = await server.request("DELETE", f"/api/instance/delete/{instance.name}")
    assert response.status == 200, response
    response = await server.request("GET", f"/api/events/getWebsocket/{instance.name}")
    assert response.status == 404, response
    client, response = await server.upgrade(f"/ws/{instance.name}", instance.token)
    await trio.aclose_forcefully(client.stream)
    assert response.status == 401, response
