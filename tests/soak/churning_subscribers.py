"""Clients that come and go: most keep up, some sleep."""

import random

import trio

from tests.clients import RawClient
from tests.soak.healthy_subscribers import Crowd, Member
from tests.soak.instance import Stage
from tests.soak.stream_checker import Listener
from tests.soak.violations import PATIENCE_SECONDS, Findings, until

__all__ = ["leave", "sleeper", "visit", "visitor"]

_MEAN_STAY_SECONDS = 2.0
_SLEEP_SECONDS = (0.5, 5.0)


async def visit(
    stage: Stage, crowd: Crowd, *, deflate: bool = False, first: bool = False
) -> Member | None:
    """Join the healthy clients of a stage; None if that is refused, as it may be."""
    listener = stage.new_listener(first=first)
    client = await _connect(stage, listener, deflate=deflate)
    return crowd.add(client, listener, stage) if client else None


async def leave(member: Member, findings: Findings) -> None:
    """Get all that others have got by now, then close."""
    end = member.stage.ledger.end
    if not await until(lambda: member.ended.is_set() or member.listener.has_all(end)):
        findings.add(f"a client of {member.stage.name}", "does not get what others have got")
    member.leave()
    with trio.move_on_after(PATIENCE_SECONDS):
        await member.ended.wait()
        return
    findings.add(f"a client of {member.stage.name}", "its close is not answered")


async def visitor(stage: Stage, crowd: Crowd, findings: Findings, chance: random.Random) -> None:
    """Come, stay a while, go properly or just vanish; again and again, until cancelled."""
    while True:
        with findings.watching(f"a visitor of {stage.name}"):
            member = await visit(stage, crowd, deflate=chance.random() < 0.15)
            if member is None:
                findings.done["visitors refused while off"] += 1
                await trio.sleep(0.05)
                continue
            findings.done["visitors"] += 1
            try:
                await trio.sleep(chance.expovariate(1 / _MEAN_STAY_SECONDS))
                if chance.random() < 0.8:
                    await leave(member, findings)
                else:
                    findings.done["visitors that vanished"] += 1
            finally:
                crowd.remove(member)


async def sleeper(stage: Stage, findings: Findings, chance: random.Random) -> None:
    """Connect, read nothing for a while, then read on to the end; until cancelled.

    What it gets has no gap, whether it is dropped or not. Dropped, it sees 4008, or a reset if
    it has slept for longer than the close grace.
    """
    while True:
        with findings.watching(f"a sleeper of {stage.name}"):
            listener = stage.new_listener()
            try:
                client = await _connect(stage, listener, narrow=True)
                if client is None:
                    await trio.sleep(0.05)
                    continue
                async with client.stream:
                    await trio.sleep(chance.uniform(*_SLEEP_SECONDS))
                    findings.done[await _wake_up(client, listener, stage)] += 1
                    await trio.aclose_forcefully(client.stream)
            finally:
                stage.listeners.discard(listener)


async def _connect(
    stage: Stage, listener: Listener, *, narrow: bool = False, deflate: bool = False
) -> RawClient | None:
    try:
        may_be_refused = stage.timeline.may_be_off
        since = len(stage.timeline.configs)
        client, answer = await stage.server.upgrade(
            f"/ws/{stage.name}", stage.token, narrow=narrow, deflate=deflate
        )
        meanwhile = stage.timeline.configs[since:]
        if answer.status != 101:
            await trio.aclose_forcefully(client.stream)
            off = may_be_refused or not all(config.enabled for config in meanwhile)
            assert answer.status == 400, answer
            assert off, f"refused while on: {answer}"
            stage.listeners.discard(listener)
            return None
        listener.opened(deflated="sec-websocket-extensions" in answer.headers)
        return client
    except BaseException:
        stage.listeners.discard(listener)
        raise


async def _wake_up(client: RawClient, listener: Listener, stage: Stage) -> str:
    """Read until the end, or until it has caught up with what others have by now."""
    end = stage.ledger.end
    data = client.take_buffer()
    while True:
        listener.receive(data)
        if listener.close_code:
            assert listener.close_code == 4008, f"closed with {listener.close_code}"
            return "sleepers dropped, 4008"
        if listener.has_all(end):
            return "sleepers that woke in time"
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                data = bytes(await client.stream.receive_some(65536))
        except trio.BrokenResourceError:
            data = b""
        if not data:
            return "sleepers dropped, reset"
