"""Connections are taken as long as there are descriptors; then nobody spins, and it passes."""

import errno
import os
import resource
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.server import acceptor as accepting
from ryze.server.acceptor import Acceptor, allow_all_descriptors

Logs = list[MutableMapping[str, Any]]


class Port:
    """A listener whose connections and errors come when the test says so.

    Args:
        descriptor: of the listening socket, and of every connection.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self.descriptor = descriptor
        # When accept() was called, on Trio's clock.
        self.asked: list[float] = []
        self.closed = 0
        self._send, self._receive = trio.open_memory_channel[OSError | None](1000)

    @property
    def socket(self) -> "Port":
        return self

    def fileno(self) -> int:
        return self.descriptor

    def close(self) -> None:
        self.closed += 1

    def come(self, *errors: int | None) -> None:
        for number in errors:
            self._send.send_nowait(None if number is None else OSError(number, "short of it"))

    async def accept(self) -> "Port":
        self.asked.append(trio.current_time())
        if error := await self._receive.receive():
            raise error
        return self


class Guests:
    def __init__(self) -> None:
        self.served = self.asked_to_leave = 0

    async def serve(self, _stream: object) -> None:
        self.served += 1

    def make_room(self) -> None:
        self.asked_to_leave += 1


@pytest.fixture
def guests() -> Guests:
    return Guests()


async def start(nursery: trio.Nursery, guests: Guests, *ports: Port) -> None:
    acceptor: Any = Acceptor(guests.serve, guests.make_room)
    await nursery.start(acceptor.accept, ports, nursery)


@contextmanager
def descriptors(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def said(logs: Logs) -> list[str]:
    return [line["event"] for line in logs]


async def test_who_comes_is_served_and_closed(nursery: trio.Nursery, guests: Guests) -> None:
    port, other = Port(), Port()
    await start(nursery, guests, port, other)
    port.come(None, None)
    other.come(None)
    await wait_all_tasks_blocked()
    assert (guests.served, port.closed, other.closed) == (3, 2, 1)
    assert guests.asked_to_leave == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_shortage_is_waited_for_in_steps_and_told_once(
    nursery: trio.Nursery, guests: Guests, logs: Logs, autojump_clock: MockClock, number: int
) -> None:
    port = Port()
    started = trio.current_time()
    port.come(*[number] * 50, None)
    await start(nursery, guests, port)
    await trio.sleep(10)
    assert guests.served == 1
    # Ten times a second, not more.
    assert port.asked[:51] == pytest.approx([started + 0.1 * n for n in range(51)])
    assert said(logs) == ["accepts nobody", "accepts again"]
    assert logs[0]["log_level"] == "warning"
    assert "short of it" in logs[0]["reason"]
    assert guests.asked_to_leave == 50
    nursery.cancel_scope.cancel()


async def test_who_hovers_at_the_limit_is_one_line_a_minute(
    nursery: trio.Nursery, guests: Guests, logs: Logs, autojump_clock: MockClock
) -> None:
    port = Port()
    await start(nursery, guests, port)
    for _ in range(59):
        port.come(errno.EMFILE, None)
        await trio.sleep(1)
    assert said(logs) == ["accepts nobody", "accepts again"]
    await trio.sleep(1)
    port.come(errno.EMFILE, None)
    await trio.sleep(1)
    assert said(logs) == ["accepts nobody", "accepts again"] * 2
    assert guests.served == 60
    nursery.cancel_scope.cancel()


async def test_what_will_not_pass_ends_it(guests: Guests) -> None:
    port = Port()
    port.come(errno.EINVAL)
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="short of it"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, nursery, guests, port)


async def test_the_last_descriptors_are_not_for_connections(
    nursery: trio.Nursery,
    guests: Guests,
    logs: Logs,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with descriptors(1000):
        port = Port(descriptor=1000 - 33)
        await start(nursery, guests, port)
    lowest = 1000 - 32
    monkeypatch.setattr(accepting.os, "dup", lambda _: lowest)
    monkeypatch.setattr(accepting.os, "close", lambda _: None)
    port.come(None)
    await trio.sleep(1)
    assert len(port.asked) == 2, "one below the mark changes nothing"
    port.descriptor += 1
    port.come(None, None)
    await trio.sleep(1)
    assert guests.served == 2, "one at the mark is served, and is the last one"
    assert said(logs) == ["accepts nobody"]
    assert logs[0]["descriptors"] == 1000
    lowest -= 1
    await trio.sleep(1)
    assert guests.served == 3
    nursery.cancel_scope.cancel()


def test_of_few_descriptors_most_are_for_connections() -> None:
    for limit, mark in ((8, 6), (100, 75), (128, 96), (129, 97), (1024, 992)):
        assert accepting._mark(limit) == mark
    assert accepting._mark(resource.RLIM_INFINITY) > 2**63


def test_the_limit_is_raised_to_what_we_may_have() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with descriptors(200):
        assert len(os.listdir("/proc/self/fd")) < 200
        allow_all_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
