"""The order of things: calibrate, go on for minutes with everything at once, see that all is well.

start           instances, residents who stay to the end
calibrate       with visitors, sleepers and vandals: how many events a second do the healthy
                ones take in a closed loop?
soak            80 % of that, and owners and guests as well
settle          publishers stop; every event that was published must have come out
empty           everybody leaves: descriptors are as many as before the first client
terminate       some come back, SIGTERM: 1012 for each of them, exit code 0
log             no warning, no traceback, as many disconnected as connected
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import trio

from tests.soak.bad_input import NUISANCES, nuisance, vandal
from tests.soak.churning_subscribers import leave, sleeper, visit, visitor
from tests.soak.healthy_subscribers import Crowd, Member
from tests.soak.instance import Stage
from tests.soak.instance_changes import (
    EVERYTHING,
    change_config,
    create_stage,
    guests,
    owner,
    until_settled,
)
from tests.soak.producers import HttpOutlet, Producer, SocketOutlet
from tests.soak.server import CLOSE_GRACE_SECONDS, Server
from tests.soak.trend import trend_of
from tests.soak.violations import PATIENCE_SECONDS, Findings, until

__all__ = ["Cast", "Result", "Soak"]

# Of what was measured, so much is published.
_LOAD = 0.8

_SAMPLE_SECONDS = 0.5

# In a shorter run everything grows: allocators and caches warm up.
_SHORTEST_TREND_SECONDS = 60

# What may grow in the second half: of the memory, of the descriptors (share, or so many at all).
_MEMORY_GROWTH = (0.05, 0)
_DESCRIPTOR_GROWTH = (0.2, 16)


@dataclass(frozen=True)
class Cast:
    """Who takes part; of residents, visitors and sleepers so many for each instance."""

    instances: int = 4
    residents: int = 10
    visitors: int = 6
    sleepers: int = 2
    guests: int = 2
    vandals: int = 2


@dataclass
class Result:
    """What is told in the end."""

    faults: list[str] = field(default_factory=list)
    more_faults: int = 0
    # Events a second, over all instances: measured, intended, published.
    capacity: float = 0
    intended: float = 0
    published: float = 0
    # Events published; frames that came out; bytes that healthy clients have received.
    events: int = 0
    frames: int = 0
    received_bytes: int = 0
    seconds: float = 0
    server_cpu_seconds: float = 0
    # Resident memory and descriptors: before anybody came, in the second half, after all had left.
    memory: dict[str, float] = field(default_factory=dict)
    descriptors: dict[str, float] = field(default_factory=dict)
    # (seconds, bytes) and (seconds, count) all the way.
    memory_samples: list[tuple[float, float]] = field(default_factory=list)
    descriptor_samples: list[tuple[float, float]] = field(default_factory=list)
    exit_code: int | None = None
    done: dict[str, int] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Nothing has gone wrong."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


class Soak:
    """One run against a server that has just started.

    Args:
        server: see there.
        cast: who takes part.
        seed: of all that is random.
        tell: is told what goes on, once a second.
    """

    def __init__(self, server: Server, cast: Cast, seed: int, tell: Callable[[str], None]) -> None:
        self._server = server
        self._cast = cast
        self._seed = seed
        self._tell = tell
        self._findings = Findings()
        self._crowd = Crowd(self._findings)
        self._stages: list[Stage] = []
        self._residents: list[Member] = []
        self._publishers: list[Producer] = []
        # Descriptors before anybody came.
        self._before: Counter[str] = Counter()
        self._result = Result()

    async def run(self, seconds: float) -> Result:
        """All of it; `seconds` is for the soak itself."""
        result = self._result
        await self._start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._crowd.run)
            for stage in self._stages:
                await self._settle_in(stage, nursery)
            await self._soak(seconds)
            with self._findings.watching("the end"):
                await self._settle()
            with self._findings.watching("leaving"):
                await self._empty()
            with self._findings.watching("SIGTERM"):
                await self._terminate()
            nursery.cancel_scope.cancel()
        self._judge_trends()
        self._judge_log()
        result.faults, result.more_faults = self._findings.faults, self._findings.more
        result.done = dict(sorted(self._findings.done.items()))
        return result

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"{self._seed} {name}")

    # Start

    async def _start(self) -> None:
        """Instances, and one of each nuisance: what the server makes once, it makes now."""
        for number in range(self._cast.instances):
            name = f"stage-{number}"
            may_turn_off = number > 0
            self._stages.append(
                await create_stage(self._server, name, EVERYTHING, may_turn_off=may_turn_off)
            )
        for each in NUISANCES:
            with self._findings.watching(each.name):
                await nuisance(self._stages[0], each)
        # Until the server has closed what was just closed here: it waits for a farewell.
        await trio.sleep(1.25 * CLOSE_GRACE_SECONDS)
        self._result.memory["before"] = self._server.memory()
        self._before = self._server.descriptors()
        self._result.descriptors["before"] = self._before.total()

    async def _settle_in(self, stage: Stage, nursery: trio.Nursery) -> None:
        for number in range(self._cast.residents):
            member = await visit(stage, self._crowd, deflate=number % 10 == 3, first=True)
            assert member is not None, f"refused: {stage.name}"
            self._residents.append(member)
        outlet = await SocketOutlet.open(stage)
        nursery.start_soon(outlet.run)
        for each in (outlet, await HttpOutlet.open(stage)):
            self._publishers.append(Producer(each, stage, self._findings))

    # Load

    async def _soak(self, seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            for publisher in self._publishers:
                nursery.start_soon(publisher.run)
            self._start_visitors(nursery)
            await self._calibrate(min(10, max(1, seconds / 10)))
            # Now: what is filtered out costs less.
            self._start_owners(nursery)
            begin, sent = trio.current_time(), self._sent
            while (passed := trio.current_time() - begin) < seconds:
                await self._look(passed, seconds)
                await trio.sleep(_SAMPLE_SECONDS)
            nursery.cancel_scope.cancel()
        self._result.seconds = trio.current_time() - begin
        self._result.events = self._sent - sent
        self._result.published = self._result.events / self._result.seconds

    async def _calibrate(self, seconds: float) -> None:
        """How many events a second does each publisher get through, when all do their best?"""
        self._tell("calibrating")
        await trio.sleep(seconds / 4)
        before = [publisher.sent for publisher in self._publishers]
        begin = trio.current_time()
        await trio.sleep(seconds)
        passed = trio.current_time() - begin
        for publisher, sent in zip(self._publishers, before, strict=True):
            rate = (publisher.sent - sent) / passed
            self._result.capacity += rate
            publisher.slow_down(_LOAD * rate)
        self._result.intended = _LOAD * self._result.capacity

    def _start_visitors(self, nursery: trio.Nursery) -> None:
        cast, crowd, findings = self._cast, self._crowd, self._findings
        for stage in self._stages:
            for number in range(cast.visitors):
                chance = self._chance(f"visitor {stage.name} {number}")
                nursery.start_soon(visitor, stage, crowd, findings, chance)
            for number in range(cast.sleepers):
                chance = self._chance(f"sleeper {stage.name} {number}")
                nursery.start_soon(sleeper, stage, findings, chance)
        for number in range(cast.vandals):
            chance = self._chance(f"vandal {number}")
            nursery.start_soon(vandal, self._stages[0], findings, chance)

    def _start_owners(self, nursery: trio.Nursery) -> None:
        findings = self._findings
        for stage in self._stages:
            nursery.start_soon(owner, stage, findings, self._chance(f"owner {stage.name}"))
        for number in range(self._cast.guests):
            chance = self._chance(f"guests {number}")
            nursery.start_soon(guests, self._server, self._crowd, findings, chance, number)

    async def _look(self, passed: float, seconds: float) -> None:
        """Take samples, ask for its health, tell how it goes."""
        self._result.memory_samples.append((passed, self._server.memory()))
        self._result.descriptor_samples.append((passed, self._server.descriptors().total()))
        with self._findings.watching("health"):
            answer = await self._server.request("GET", "/health")
            assert answer.status == 200, answer
        done = self._findings.done
        self._tell(
            f"{passed:.0f} of {seconds:.0f} s, {self._sent:,} events,"
            f" {len(self._crowd)} clients, {done['visitors']:,} visits,"
            f" {done['bad inputs']:,} bad inputs,"
            f" {self._result.memory_samples[-1][1] / 2**20:.1f} MiB, {len(self._findings)} faults"
        )

    @property
    def _sent(self) -> int:
        return sum(publisher.sent for publisher in self._publishers)

    # End

    async def _settle(self) -> None:
        """All events come out: the last ones pass every filter, so they tell of all before."""
        self._tell("settling")
        for stage in self._stages:
            await change_config(stage, EVERYTHING)
        for publisher in self._publishers:
            await publisher.publish(6)
            await publisher.outlet.fence()
        for stage in self._stages:
            with self._findings.watching(f"the ledger of {stage.name}"):
                await until_settled(stage)
            self._result.frames += stage.ledger.frames
        self._result.received_bytes = self._crowd.received

    async def _empty(self) -> None:
        """Everybody leaves, and descriptors are back to what they were."""
        self._tell("leaving")
        for member in self._residents:
            await leave(member, self._findings)
        for publisher in self._publishers:
            await publisher.outlet.aclose()
        await until(lambda: not self._server.descriptors() - self._before)
        after = self._server.descriptors()
        self._result.descriptors["after"] = after.total()
        self._result.memory["after"] = self._server.memory()
        if more := after - self._before:
            self._findings.add("descriptors", f"more than before anybody came: {dict(more)}")
        if len(self._crowd):
            self._findings.add("clients", f"{len(self._crowd)} have not left")

    async def _terminate(self) -> None:
        """Everybody who is there is told, and the server ends well."""
        self._tell("terminating")
        members = [
            member
            for stage in self._stages
            for _ in range(self._cast.residents)
            if (member := await visit(stage, self._crowd)) is not None
        ]
        for member in members:
            member.may_end_with = frozenset({1012})
        self._result.server_cpu_seconds = self._server.cpu_seconds()
        self._result.exit_code = await self._server.terminate()
        assert self._result.exit_code == 0, f"exit code {self._result.exit_code}"
        with trio.fail_after(PATIENCE_SECONDS):
            for member in members:
                await member.ended.wait()

    # Judgement

    def _judge_trends(self) -> None:
        result = self._result
        is_long = result.seconds >= _SHORTEST_TREND_SECONDS
        for name, samples, allowed, into in (
            ("memory", result.memory_samples, _MEMORY_GROWTH, result.memory),
            ("descriptors", result.descriptor_samples, _DESCRIPTOR_GROWTH, result.descriptors),
        ):
            trend = trend_of(samples)
            into |= {"level": trend.level, "growth": trend.growth}
            if is_long and not trend.is_flat(*allowed):
                self._findings.add(name, f"grows by {trend.growth:,.0f} from {trend.level:,.0f}")

    def _judge_log(self) -> None:
        for line in self._server.unexpected_log():
            self._findings.add("the log", line)
        logged = self._server.logged()
        self._findings.done["connections"] = logged["connected"]
        if logged["connected"] != logged["disconnected"]:
            self._findings.add(
                "connections",
                f"{logged['connected']} were opened, {logged['disconnected']} have ended",
            )
