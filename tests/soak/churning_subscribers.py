"""Subscribers that connect and disconnect: most keep up, the slow ones stop reading."""

import random

import trio

from tests.clients import RawClient
from tests.soak.healthy_subscribers import HealthySubscriber, HealthySubscribers
from tests.soak.instance import Instance
from tests.soak.stream_checker import StreamChecker
from tests.soak.violations import TIMEOUT_SECONDS, Violations, wait_until

__all__ = [
    "connect_subscriber",
    "disconnect_subscriber",
    "run_churning_subscriber",
    "run_slow_subscriber",
]

_MEAN_CONNECTED_SECONDS = 2.0
_NOT_READING_SECONDS = (0.5, 5.0)


async def connect_subscriber(
    instance: Instance,
    subscribers: HealthySubscribers,
    *,
    deflate: bool = False,
    first: bool = False,
) -> HealthySubscriber | None:
    """Connect a healthy subscriber; None if it is refused because the instance is disabled."""
    checker = instance.new_checker(first=first)
    client = await _connect(instance, checker, deflate=deflate)
    return subscribers.add(client, checker, instance) if client else None


async def disconnect_subscriber(subscriber: HealthySubscriber, violations: Violations) -> None:
    """Wait until it has received what others have by now, then close with a handshake."""
    instance = subscriber.instance
    end = instance.expected.end
    if not await wait_until(lambda: subscriber.ended.is_set() or subscriber.checker.has_all(end)):
        violations.add(f"subscriber of {instance.name}", "missed events that others received")
    subscriber.start_closing()
    with trio.move_on_after(TIMEOUT_SECONDS):
        await subscriber.ended.wait()
        return
    violations.add(f"subscriber of {instance.name}", "its closing handshake was not completed")


async def run_churning_subscriber(
    instance: Instance, subscribers: HealthySubscribers, violations: Violations, rng: random.Random
) -> None:
    """Connect, stay a while, then close or just drop the connection; repeat until cancelled."""
    counts = violations.counts
    while True:
        with violations.recording(f"churning subscriber of {instance.name}"):
            subscriber = await connect_subscriber(
                instance, subscribers, deflate=rng.random() < 0.15
            )
            if subscriber is None:
                counts["churning subscribers refused while disabled"] += 1
                await trio.sleep(0.05)
                continue
            counts["churning subscribers"] += 1
            try:
                await trio.sleep(rng.expovariate(1 / _MEAN_CONNECTED_SECONDS))
                if rng.random() < 0.8:
                    await disconnect_subscriber(subscriber, violations)
                else:
                    counts["churning subscribers without closing handshake"] += 1
            finally:
                subscribers.remove(subscriber)


async def run_slow_subscriber(
    instance: Instance, violations: Violations, rng: random.Random
) -> None:
    """Connect, read nothing for a while, then read to the end; repeat until cancelled.

    There is no gap in what it receives, whether it is evicted or not. When evicted it sees close
    code 4008, or a reset if it did not read for longer than the close grace.
    """
    while True:
        with violations.recording(f"slow subscriber of {instance.name}"):
            checker = instance.new_checker()
            try:
                client = await _connect(instance, checker, small_buffers=True)
                if client is None:
                    await trio.sleep(0.05)
                    continue
                async with client.stream:
                    await trio.sleep(rng.uniform(*_NOT_READING_SECONDS))
                    violations.counts[await _read_on(client, checker, instance)] += 1
                    await trio.aclose_forcefully(client.stream)
            finally:
                instance.checkers.discard(checker)


async def _connect(
    instance: Instance,
    checker: StreamChecker,
    *,
    small_buffers: bool = False,
    deflate: bool = False,
) -> RawClient | None:
    try:
        may_be_refused = instance.timeline.may_be_disabled
        since = len(instance.timeline.configs)
        client, response = await instance.server.upgrade(
            f"/ws/{instance.name}", instance.token, small_buffers=small_buffers, deflate=deflate
        )
        meanwhile = instance.timeline.configs[since:]
        if response.status != 101:
            await trio.aclose_forcefully(client.stream)
            was_disabled = may_be_refused or not all(config.enabled for config in meanwhile)
            assert response.status == 400, response
            assert was_disabled, f"refused while enabled: {response}"
            instance.checkers.discard(checker)
            return None
        checker.opened(deflated="sec-websocket-extensions" in response.headers)
        return client
    except BaseException:
        instance.checkers.discard(checker)
        raise


async def _read_on(client: RawClient, checker: StreamChecker, instance: Instance) -> str:
    """Read to the end of the connection, or until all is received that others have by now.

    Returns:
        The outcome, as the name of a counter.
    """
    end = instance.expected.end
    data = client.take_buffer()
    while True:
        checker.receive(data)
        if checker.close_code:
            assert checker.close_code == 4008, f"closed with {checker.close_code}"
            return "slow subscribers evicted, 4008"
        if checker.has_all(end):
            return "slow subscribers that caught up"
        try:
            with trio.fail_after(TIMEOUT_SECONDS):
                data = bytes(await client.stream.receive_some(65536))
        except trio.BrokenResourceError:
            data = b""
        if not data:
            return "slow subscribers evicted, reset"
