"""The phases of a run.

start           create instances, connect the stable subscribers, which stay to the end
calibrate       with churning, slow and bad clients: how many events per second do the healthy
                subscribers take in a closed loop?
load            80 % of that; configurations change, temporary instances come and go
settle          producers stop; every event that was published must have been received
disconnect      all clients disconnect: descriptors are those of before the first client
terminate       some connect again, SIGTERM: each is closed with 1012, exit code 0
log             no warning, no traceback, as many disconnected as connected
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import trio

from tests.soak.bad_input import BAD_INPUTS, run_bad_inputs, send_bad_input
from tests.soak.churning_subscribers import (
    connect_subscriber,
    disconnect_subscriber,
    run_churning_subscriber,
    run_slow_subscriber,
)
from tests.soak.healthy_subscribers import HealthySubscriber, HealthySubscribers
from tests.soak.instance import Instance
from tests.soak.instance_changes import (
    EVERYTHING,
    create_instance,
    run_config_changes,
    run_temporary_instances,
    set_config,
    wait_settled,
)
from tests.soak.producers import HttpSender, Producer, WebSocketSender
from tests.soak.server import CLOSE_GRACE_SECONDS, Server
from tests.soak.trend import trend_of
from tests.soak.violations import TIMEOUT_SECONDS, Violations, wait_until

__all__ = ["Parameters", "Result", "Soak"]

# The share of the measured capacity that is published.
_LOAD = 0.8

_SAMPLE_SECONDS = 0.5

# In a shorter run everything grows: allocators and caches warm up.
_SHORTEST_TREND_SECONDS = 60

# Allowed growth of memory and descriptors in the second half: share, or absolute.
_MEMORY_GROWTH = (0.05, 0)
_DESCRIPTOR_GROWTH = (0.2, 16)


@dataclass(frozen=True)
class Parameters:
    """Numbers of instances and clients.

    Args:
        stable: healthy subscribers that stay to the end, per instance.
        churning: healthy subscribers that connect and disconnect, per instance.
        slow: subscribers that stop reading, per instance.
        temporary_instances: instances that exist at a time besides `instances`.
        bad_clients: clients that send bad input.
    """

    instances: int = 4
    stable: int = 10
    churning: int = 6
    slow: int = 2
    temporary_instances: int = 2
    bad_clients: int = 2

    @property
    def subscribers(self) -> int:
        """Subscribers of the permanent instances."""
        return self.instances * (self.stable + self.churning + self.slow)


@dataclass
class Result:
    """Measurements and violations of a run."""

    violations: list[str] = field(default_factory=list)
    omitted_violations: int = 0
    # Events per second over all instances: measured in a closed loop, intended, published.
    capacity: float = 0
    target: float = 0
    published: float = 0
    # Events published; different frames received; bytes received by healthy subscribers.
    events: int = 0
    frames: int = 0
    received_bytes: int = 0
    seconds: float = 0
    server_cpu_seconds: float = 0
    # Resident bytes and descriptors: "before" the first client, "level" and "growth" in the second
    # half, "after" all have disconnected.
    memory: dict[str, float] = field(default_factory=dict)
    descriptors: dict[str, float] = field(default_factory=dict)
    # (seconds, bytes) and (seconds, count) throughout.
    memory_samples: list[tuple[float, float]] = field(default_factory=list)
    descriptor_samples: list[tuple[float, float]] = field(default_factory=list)
    exit_code: int | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def has_passed(self) -> bool:
        """There was no violation."""
        return not self.violations

    def as_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)


class Soak:
    """One run against a server that has just started.

    Args:
        server: the server under test.
        parameters: numbers of instances and clients.
        seed: of all random choices.
        show_progress: called with a line of text about once a second.
    """

    def __init__(
        self,
        server: Server,
        parameters: Parameters,
        seed: int,
        show_progress: Callable[[str], None],
    ) -> None:
        self._server = server
        self._parameters = parameters
        self._seed = seed
        self._show_progress = show_progress
        self._violations = Violations()
        self._subscribers = HealthySubscribers(self._violations)
        self._instances: list[Instance] = []
        self._stable: list[HealthySubscriber] = []
        self._producers: list[Producer] = []
        # Descriptors of the server before the first client.
        self._descriptors_before: Counter[str] = Counter()
        self._result = Result()

    async def run(self, seconds: float) -> Result:
        """Run all phases; `seconds` is the duration of the load."""
        result = self._result
        await self._start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._subscribers.run)
            for instance in self._instances:
                await self._connect_stable(instance, nursery)
            await self._load(seconds)
            with self._violations.recording("settling"):
                await self._settle()
            with self._violations.recording("disconnecting"):
                await self._disconnect()
            with self._violations.recording("SIGTERM"):
                await self._terminate()
            nursery.cancel_scope.cancel()
        self._check_trends()
        self._check_log()
        result.violations = self._violations.messages
        result.omitted_violations = self._violations.omitted
        result.counts = dict(sorted(self._violations.counts.items()))
        return result

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._seed} {name}")

    # Start

    async def _start(self) -> None:
        """Create instances; send each bad input once, so that one-time allocations are made."""
        for number in range(self._parameters.instances):
            self._instances.append(
                await create_instance(
                    self._server, f"soak-{number}", EVERYTHING, can_be_disabled=number > 0
                )
            )
        for bad_input in BAD_INPUTS:
            with self._violations.recording(bad_input.name):
                await send_bad_input(self._instances[0], bad_input)
        # The server keeps a connection for up to the close grace after its close frame.
        await trio.sleep(1.25 * CLOSE_GRACE_SECONDS)
        self._result.memory["before"] = self._server.memory()
        self._descriptors_before = self._server.descriptors()
        self._result.descriptors["before"] = self._descriptors_before.total()

    async def _connect_stable(self, instance: Instance, nursery: trio.Nursery) -> None:
        for number in range(self._parameters.stable):
            subscriber = await connect_subscriber(
                instance, self._subscribers, deflate=number % 10 == 3, first=True
            )
            assert subscriber is not None, f"refused: {instance.name}"
            self._stable.append(subscriber)
        websocket = await WebSocketSender.open(instance)
        nursery.start_soon(websocket.run)
        for sender in (websocket, await HttpSender.open(instance)):
            self._producers.append(Producer(sender, instance, self._violations))

    # Load

    async def _load(self, seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            for producer in self._producers:
                nursery.start_soon(producer.run)
            self._start_clients(nursery)
            await self._calibrate(min(10, max(1, seconds / 10)))
            # Not before: filtered events cost less, and the capacity would come out too high.
            self._start_changes(nursery)
            begin, sent = trio.current_time(), self._sent
            while (passed := trio.current_time() - begin) < seconds:
                await self._sample(passed, seconds)
                await trio.sleep(_SAMPLE_SECONDS)
            nursery.cancel_scope.cancel()
        self._result.seconds = trio.current_time() - begin
        self._result.events = self._sent - sent
        self._result.published = self._result.events / self._result.seconds

    async def _calibrate(self, seconds: float) -> None:
        """Measure the events per second of each producer without a limit, and limit its rate."""
        self._show_progress("calibrating")
        await trio.sleep(seconds / 4)
        before = [producer.sent for producer in self._producers]
        begin = trio.current_time()
        await trio.sleep(seconds)
        passed = trio.current_time() - begin
        for producer, sent in zip(self._producers, before, strict=True):
            rate = (producer.sent - sent) / passed
            self._result.capacity += rate
            producer.limit_rate(_LOAD * rate)
        self._result.target = _LOAD * self._result.capacity

    def _start_clients(self, nursery: trio.Nursery) -> None:
        parameters, subscribers, violations = self._parameters, self._subscribers, self._violations
        for instance in self._instances:
            for number in range(parameters.churning):
                rng = self._rng(f"churning {instance.name} {number}")
                nursery.start_soon(run_churning_subscriber, instance, subscribers, violations, rng)
            for number in range(parameters.slow):
                rng = self._rng(f"slow {instance.name} {number}")
                nursery.start_soon(run_slow_subscriber, instance, violations, rng)
        for number in range(parameters.bad_clients):
            rng = self._rng(f"bad client {number}")
            nursery.start_soon(run_bad_inputs, self._instances[0], violations, rng)

    def _start_changes(self, nursery: trio.Nursery) -> None:
        subscribers, violations = self._subscribers, self._violations
        for instance in self._instances:
            rng = self._rng(f"configuration {instance.name}")
            nursery.start_soon(run_config_changes, instance, violations, rng)
        for number in range(self._parameters.temporary_instances):
            rng = self._rng(f"temporary {number}")
            nursery.start_soon(
                run_temporary_instances, self._server, subscribers, violations, rng, number
            )

    async def _sample(self, passed: float, seconds: float) -> None:
        """Sample memory and descriptors, check /health, show the progress."""
        self._result.memory_samples.append((passed, self._server.memory()))
        self._result.descriptor_samples.append((passed, self._server.descriptors().total()))
        with self._violations.recording("health"):
            response = await self._server.request("GET", "/health")
            assert response.status == 200, response
        counts = self._violations.counts
        self._show_progress(
            f"{passed:.0f} of {seconds:.0f} s, {self._sent:,} events,"
            f" {len(self._subscribers)} healthy subscribers,"
            f" {counts['churning subscribers']:,} came and went,"
            f" {counts['bad inputs']:,} bad inputs,"
            f" {self._result.memory_samples[-1][1] / 2**20:.1f} MiB,"
            f" {len(self._violations)} violations"
        )

    @property
    def _sent(self) -> int:
        return sum(producer.sent for producer in self._producers)

    # End

    async def _settle(self) -> None:
        """Check that all events are received.

        The last events pass every filter, so that they show whether earlier ones are missing.
        """
        self._show_progress("settling")
        for instance in self._instances:
            await set_config(instance, EVERYTHING)
        for producer in self._producers:
            await producer.publish(6)
            await producer.sender.wait_published()
        for instance in self._instances:
            with self._violations.recording(f"expected stream of {instance.name}"):
                await wait_settled(instance)
            self._result.frames += instance.expected.frames
        self._result.received_bytes = self._subscribers.received_bytes

    async def _disconnect(self) -> None:
        """Disconnect all clients; the descriptors are those of before the first client."""
        self._show_progress("disconnecting")
        for subscriber in self._stable:
            await disconnect_subscriber(subscriber, self._violations)
        for producer in self._producers:
            await producer.sender.aclose()
        await wait_until(lambda: not self._server.descriptors() - self._descriptors_before)
        after = self._server.descriptors()
        self._result.descriptors["after"] = after.total()
        self._result.memory["after"] = self._server.memory()
        if more := after - self._descriptors_before:
            self._violations.add("descriptors", f"more than before the first client: {dict(more)}")
        if len(self._subscribers):
            self._violations.add("subscribers", f"{len(self._subscribers)} are still connected")

    async def _terminate(self) -> None:
        """Connect subscribers and send SIGTERM: each is closed with 1012, the exit code is 0."""
        self._show_progress("terminating")
        connected = [
            subscriber
            for instance in self._instances
            for _ in range(self._parameters.stable)
            if (subscriber := await connect_subscriber(instance, self._subscribers)) is not None
        ]
        for subscriber in connected:
            subscriber.allowed_close_codes = frozenset({1012})
        self._result.server_cpu_seconds = self._server.cpu_seconds()
        self._result.exit_code = await self._server.terminate()
        assert self._result.exit_code == 0, f"exit code {self._result.exit_code}"
        with trio.fail_after(TIMEOUT_SECONDS):
            for subscriber in connected:
                await subscriber.ended.wait()

    # Checks after the end

    def _check_trends(self) -> None:
        result = self._result
        is_long = result.seconds >= _SHORTEST_TREND_SECONDS
        for name, samples, allowed, into in (
            ("memory", result.memory_samples, _MEMORY_GROWTH, result.memory),
            ("descriptors", result.descriptor_samples, _DESCRIPTOR_GROWTH, result.descriptors),
        ):
            trend = trend_of(samples)
            into |= {"level": trend.level, "growth": trend.growth}
            if is_long and not trend.is_flat(*allowed):
                self._violations.add(name, f"grows by {trend.growth:,.0f} from {trend.level:,.0f}")

    def _check_log(self) -> None:
        for line in self._server.unexpected_log():
            self._violations.add("log", line)
        logged = self._server.logged()
        self._violations.counts["connections"] = logged["connected"]
        if logged["connected"] != logged["disconnected"]:
            self._violations.add(
                "connections",
                f"{logged['connected']} were opened, {logged['disconnected']} have ended",
            )
