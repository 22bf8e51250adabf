"""What the owner of instances does: change configurations, make instances, delete them."""

import random
from itertools import count

import trio

from ryze.events.event import EVENT_TYPES
from ryze.records import DISABLED, WebsocketConfig
from tests.soak.churning_subscribers import visit
from tests.soak.healthy_subscribers import Crowd, Member
from tests.soak.instance import Stage
from tests.soak.producers import Producer, SocketOutlet
from tests.soak.server import Server
from tests.soak.violations import PATIENCE_SECONDS, Findings, until

__all__ = ["EVERYTHING", "change_config", "create_stage", "guests", "owner", "until_settled"]

EVERYTHING = WebsocketConfig(enabled=True, media_base64=True)

_PAUSE_SECONDS = (0.3, 3.0)
_OFF_SECONDS = (0.1, 1.0)
_SHARE_OFF = 0.2

# A guest's events: a few pieces, all six types in each of them.
_GUEST_PIECES = 5
_GUEST_EVENTS = 12
_GUEST_CLIENTS = 3


async def create_stage(
    server: Server, name: str, config: WebsocketConfig, *, may_turn_off: bool = False
) -> Stage:
    """Create an instance with this configuration."""
    token = f"soak-token-of-{name}"
    answer = await server.request(
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
    assert answer.status == 201, answer
    return Stage(server, name, token, config, may_turn_off=may_turn_off)


async def change_config(stage: Stage, config: WebsocketConfig) -> None:
    """Set the WebSocket of an instance, and read it again."""
    was_off = not stage.timeline.may_be_on
    if was_off:
        stage.ledger.write_off()
    body = {
        "enabled": config.enabled,
        "events": list(config.events),
        "mediaBase64": config.media_base64,
    }
    stage.timeline.ask(config)
    path = f"/api/events/websocket/{stage.name}"
    answer = await stage.server.request("POST", path, body, token=stage.token)
    assert answer.status == 200, answer
    assert answer.json["websocket"] == body, answer
    stage.timeline.answered()
    if was_off:
        # What was sent meanwhile may never come out, and nothing else would ever say so.
        stage.ledger.write_off()
    path = f"/api/events/getWebsocket/{stage.name}"
    answer = await stage.server.request("GET", path, token=stage.token)
    assert answer.status == 200, answer
    assert answer.json["websocket"] == body, answer


async def owner(stage: Stage, findings: Findings, chance: random.Random) -> None:
    """Change the configuration now and then, until cancelled."""
    while True:
        with findings.watching(f"the owner of {stage.name}"):
            if stage.may_turn_off and chance.random() < _SHARE_OFF:
                await _change_whole(stage, DISABLED)
                findings.done["configurations turned off"] += 1
                await trio.sleep(chance.uniform(*_OFF_SECONDS))
            await _change_whole(stage, _some_config(chance))
            findings.done["configurations changed"] += 1
        await trio.sleep(chance.uniform(*_PAUSE_SECONDS))


async def _change_whole(stage: Stage, config: WebsocketConfig) -> None:
    # A change without its answer would leave it open which configuration is in force.
    with trio.CancelScope(shield=True), trio.fail_after(PATIENCE_SECONDS):
        await change_config(stage, config)


def _some_config(chance: random.Random) -> WebsocketConfig:
    wanted = chance.sample(EVENT_TYPES, chance.randint(0, len(EVENT_TYPES)))
    return WebsocketConfig(True, tuple(wanted), chance.random() < 0.5)


async def guests(
    server: Server, crowd: Crowd, findings: Findings, chance: random.Random, place: int
) -> None:
    """An instance that is made, used and deleted; again and again, until cancelled."""
    for number in count():
        with findings.watching(f"guest {place}-{number}"):
            await _guest(server, crowd, findings, chance, f"guest-{place}-{number}")
            findings.done["instances made and deleted"] += 1
        await trio.sleep(chance.uniform(*_OFF_SECONDS))


async def _guest(
    server: Server, crowd: Crowd, findings: Findings, chance: random.Random, name: str
) -> None:
    stage = await create_stage(server, name, _some_config(chance))
    clients: list[Member] = []
    try:
        for place in range(_GUEST_CLIENTS):
            deflate = chance.random() < 0.15
            member = await visit(stage, crowd, deflate=deflate, first=place == 0)
            assert member is not None, "a client is refused"
            clients.append(member)
        outlet = await SocketOutlet.open(stage)
        async with outlet.stream, trio.open_nursery() as nursery:
            nursery.start_soon(outlet.run)
            publisher = Producer(outlet, stage, findings)
            for _ in range(_GUEST_PIECES):
                await publisher.publish(_GUEST_EVENTS)
                await trio.sleep(chance.uniform(0, 0.1))
            await outlet.fence()
            await until_settled(stage)
            for member in clients:
                member.may_end_with = frozenset({4504})
            await _delete(stage)
            for member in clients:
                with trio.fail_after(PATIENCE_SECONDS):
                    await member.ended.wait()
        # The nursery has waited for the publisher's end.
        assert outlet.close_code == 4504, f"the publisher ended with {outlet.close_code}"
    finally:
        for member in clients:
            crowd.remove(member)


async def until_settled(stage: Stage) -> None:
    """All its clients get all that was published; the last event must pass every filter."""
    await until(lambda: stage.is_settled)
    stage.ledger.check_complete()
    assert stage.is_settled, "its clients have not got the same"


async def _delete(stage: Stage) -> None:
    """Delete an instance, and see that nothing is left of it."""
    server = stage.server
    answer = await server.request("DELETE", f"/api/instance/delete/{stage.name}")
    assert answer.status == 200, answer
    answer = await server.request("GET", f"/api/events/getWebsocket/{stage.name}")
    assert answer.status == 404, answer
    client, answer = await server.upgrade(f"/ws/{stage.name}", stage.token)
    await trio.aclose_forcefully(client.stream)
    assert answer.status == 401, answer
