"""Accepting: paused without busy-waiting while file descriptors run short, then resumed."""

import errno
import os
import resource
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.server import acceptor
from ryze.server.acceptor import Acceptor, allow_all_descriptors

Logs = list[MutableMapping[str, Any]]


class Port:
    """A listener whose connections and errors are queued by the test.

    Args:
        descriptor: of the listening socket, and of every connection.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self.descriptor = descriptor
        # When accept() was called, on Trio's clock.
        self.accepts: list[float] = []
        self.closed = 0
        self._send, self._receive = trio.open_memory_channel[OSError | None](1000)

    @property
    def socket(self) -> "Port":
        return self

    def fileno(self) -> int:
        return self.descriptor

    def close(self) -> None:
        self.closed += 1

    def queue(self, *errors: int | None) -> None:
        for number in errors:
            self._send.send_nowait(None if number is None else OSError(number, "short of it"))

    async def accept(self) -> "Port":
        self.accepts.append(trio.current_time())
        if error := await self._receive.receive():
            raise error
        return self


class Server:
    def __init__(self) -> None:
        self.served = self.made_room = 0

    async def serve(self, _stream: object) -> None:
        self.served += 1

    def make_room(self) -> None:
        self.made_room += 1


@pytest.fixture
def server() -> Server:
    return Server()


async def start(nursery: trio.Nursery, server: Server, *ports: Port) -> None:
    accepting: Any = Acceptor(server.serve, server.make_room)
    await nursery.start(accepting.accept, ports, nursery)


@contextmanager
def descriptors(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def events(logs: Logs) -> list[str]:
    return [line["event"] for line in logs]


async def test_connections_are_served_and_closed(nursery: trio.Nursery, server: Server) -> None:
    port, other = Port(), Port()
    await start(nursery, server, port, other)
    port.queue(None, None)
    other.queue(None)
    await wait_all_tasks_blocked()
    assert (server.served, port.closed, other.closed) == (3, 2, 1)
    assert server.made_room == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_shortage_pauses_accepting_and_is_logged_once(
    nursery: trio.Nursery, server: Server, logs: Logs, autojump_clock: MockClock, number: int
) -> None:
    port = Port()
    started = trio.current_time()
    port.queue(*[number] * 50, None)
    await start(nursery, server, port)
    await trio.sleep(10)
    assert server.served == 1
    # Ten times a second, not more.
    assert port.accepts[:51] == pytest.approx([started + 0.1 * n for n in range(51)])
    assert events(logs) == ["accepting paused", "accepting resumed"]
    assert logs[0]["log_level"] == "warning"
    assert logs[0]["reason"] == errno.errorcode[number].lower()
    assert server.made_room == 50
    nursery.cancel_scope.cancel()


async def test_repeated_shortages_are_logged_at_most_once_a_minute(
    nursery: trio.Nursery, server: Server, logs: Logs, autojump_clock: MockClock
) -> None:
    port = Port()
    await start(nursery, server, port)
    for _ in range(59):
        port.queue(errno.EMFILE, None)
        await trio.sleep(1)
    assert events(logs) == ["accepting paused", "accepting resumed"]
    await trio.sleep(1)
    port.queue(errno.EMFILE, None)
    await trio.sleep(1)
    assert events(logs) == ["accepting paused", "accepting resumed"] * 2
    assert server.served == 60
    nursery.cancel_scope.cancel()


async def test_permanent_error_ends_accepting(server: Server) -> None:
    port = Port()
    port.queue(errno.EINVAL)
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="short of it"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, nursery, server, port)


async def test_last_descriptors_are_reserved(
    nursery: trio.Nursery,
    server: Server,
    logs: Logs,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with descriptors(1000):
        port = Port(descriptor=1000 - 33)
        await start(nursery, server, port)
    lowest = 1000 - 32
    monkeypatch.setattr(acceptor.os, "dup", lambda _: lowest)
    monkeypatch.setattr(acceptor.os, "close", lambda _: None)
    port.queue(None)
    await trio.sleep(1)
    assert len(port.accepts) == 2, "a descriptor below the mark does not pause accepting"
    port.descriptor += 1
    port.queue(None, None)
    await trio.sleep(1)
    assert server.served == 2, "a connection at the mark is served, and pauses accepting"
    assert events(logs) == ["accepting paused"]
    assert logs[0]["descriptors"] == 1000
    lowest -= 1
    await trio.sleep(1)
    assert server.served == 3
    nursery.cancel_scope.cancel()


def test_reserve_is_a_quarter_of_few_descriptors() -> None:
    for limit, mark in ((8, 6), (100, 75), (128, 96), (129, 97), (1024, 992)):
        assert acceptor._high_water_mark(limit) == mark
    assert acceptor._high_water_mark(resource.RLIM_INFINITY) > 2**63


def test_soft_limit_is_raised_to_the_hard_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with descriptors(200):
        assert len(os.listdir("/proc/self/fd")) < 200
        allow_all_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
