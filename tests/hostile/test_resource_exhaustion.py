"""No descriptor, disk, lock or steady clock: what can go on does, and the rest comes back."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

import ryze.app
from ryze.store import open_database
from tests.conftest import Server, StartServer
from tests.e2e.clients import RawClient, WebsocketsClient, address
from tests.e2e.harness import CAP, wait_until
from tests.e2e.harness import Server as Process
from tests.e2e.harness import StartServer as StartProcess

EVENT = {"event": "call.update", "data": {"n": 1}}
FAILED = {"success": False, "error": {"message": "Failed to get instance"}}

PING = 9

# One that has few descriptors and lets everybody ask as often as it likes.
FEW = {"command": ("prlimit", "--nofile=100:100"), "global_rate_limit": ""}


def connect(process: Process) -> socket.socket:
    url = urlsplit(process.url)
    assert url.hostname
    return socket.create_connection((url.hostname, url.port), timeout=CAP)


def set_websocket(process: Process, media: bool = False) -> tuple[int, object]:
    body = {"enabled": True, "mediaBase64": media}
    return process.request("POST", "/api/events/websocket/demo", body)


def message(client: RawClient) -> bytes:
    """The next message; pings come when they like."""
    opcode, payload = client.receive()
    return message(client) if opcode == PING else payload


class TestDescriptors:
    def test_when_web_sockets_have_taken_them_the_others_wait_for_their_turn(
        self, start_process: StartProcess
    ) -> None:
        process = start_process(**FEW)
        target = address(process.url, "demo", process.create_instance("demo"))
        with ExitStack() as stack:
            process.hang_up()
            clients = [stack.enter_context(closing(RawClient(*target)))]
            while not process.logged("accepting paused"):
                clients.append(stack.enter_context(closing(RawClient(*target))))
                time.sleep(0.01)
            assert 40 < len(clients) < 75
            # The kernel takes their connections, and nobody reads their requests yet.
            waiting = [stack.enter_context(connect(process)) for _ in range(10)]
            for each in waiting:
                each.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            clients.pop(0).close()
            # Served one after the other by the descriptor that is free now.
            for each in waiting:
                assert each.recv(100).startswith(b"HTTP/1.1 200 ")
                each.close()
            # With all of that, the database has had the descriptors that it needs.
            assert set_websocket(process)[0] == 200
            assert process.publish("demo", EVENT) == len(clients)
            for client in clients:
                assert b'"data":{"n": 1}' in message(client)
        assert len(process.logged("accepting paused")) == 1
        assert len(process.logged("accepting resumed")) <= 1

    def test_the_silent_make_way_for_those_who_speak(self, start_process: StartProcess) -> None:
        process = start_process(**FEW)
        target = address(process.url, "demo", process.create_instance("demo"))
        with ExitStack() as stack:
            client = stack.enter_context(closing(RawClient(*target)))
            process.hang_up()
            silent = [stack.enter_context(connect(process)) for _ in range(150)]
            wait_until(lambda: process.logged("accepting paused"), "descriptors are out")
            # Behind all of them in the queue, and long before their time for a request is over.
            assert process.publish("demo", EVENT) == 1
            assert b'"data":{"n": 1}' in message(client)
            assert silent[0].recv(1) == b"", "the oldest was closed"

    def test_with_none_at_all_it_goes_on_with_whom_it_has(
        self, start_process: StartProcess
    ) -> None:
        process = start_process(global_rate_limit="")
        target = address(process.url, "demo", process.create_instance("demo"))
        with ExitStack() as stack:
            client = stack.enter_context(closing(WebsocketsClient(*target)))
            with no_descriptors(process):
                assert process.publish("demo", EVENT) == 1
                client.receive()
                # Not even the database can be opened.
                assert set_websocket(process) == (500, FAILED)
                newcomer = stack.enter_context(connect(process))
                newcomer.sendall(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
                wait_until(lambda: process.logged("accepting paused"), "descriptors are out")
                ticks = processor_ticks(process)
                # Some rounds, of which none may be heard of.
                time.sleep(1)
                assert processor_ticks(process) - ticks < 0.5 * os.sysconf("SC_CLK_TCK")
            assert newcomer.recv(100).startswith(b"HTTP/1.1 404 ")
            process.hang_up()
            assert set_websocket(process)[0] == 200
            assert process.publish("demo", EVENT) == 1
            client.receive()
        warnings = [line for line in process.log.splitlines() if "accepting paused" in line]
        assert len(warnings) == 1
        assert "Too many open files" in warnings[0]


@contextmanager
def no_descriptors(process: Process) -> Iterator[None]:
    """Take every descriptor from it that it does not use at the moment."""
    pid = process.process.pid
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    lowest_free = next(number for number in range(10_000) if number not in used)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def processor_ticks(process: Process) -> int:
    """The time for which it has kept a processor busy."""
    stat = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(stat[11]) + int(stat[12])


def test_a_full_disk_stops_changes_and_nothing_else(start_process: StartProcess) -> None:
    process = start_process(global_rate_limit="")
    token = process.create_instance("demo")
    with closing(WebsocketsClient(*address(process.url, "demo", token))) as client:
        with full_disk(process):
            for _ in range(3):
                assert set_websocket(process, media=True) == (500, FAILED)
                status, answer = process.request("POST", "/api/instance/new", {"name": "next"})
                assert (status, answer["success"]) == (500, False)
                assert process.publish("demo", EVENT) == 1
                client.receive()
            # Who comes now is let in: that needs memory only. The log line is lost.
            with closing(WebsocketsClient(*address(process.url, "demo", token))) as newcomer:
                assert process.publish("demo", EVENT) == 2
                newcomer.receive()
                client.receive()
        assert set_websocket(process, media=True)[0] == 200
        process.create_instance("next")
        assert process.publish("demo", EVENT) == 1
        client.receive()


@contextmanager
def full_disk(process: Process) -> Iterator[None]:
    """Let it write no byte to any file, neither to the database nor to its log."""
    pid = process.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


# Takes the one lock for writing, says so, and keeps it until its input ends.
LOCK = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as database:
    database.execute("begin immediate")
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While inside, another process is writing to the database."""
    command = [sys.executable, "-c", LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"locked\n"
        yield
        other.stdin.close()


async def test_a_locked_database_stops_changes_and_nothing_else(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = partial(open_database, busy_timeout_seconds=0.05)
    monkeypatch.setattr(ryze.app, "open_database", patient)
    server = await start_server(global_rate_limit=None)
    await server.create()
    client = await server.connect()
    with locked(server.database_path):
        assert (await server.configure(enabled=False)).error == (500, "Failed to get instance")
        new = await server.request("POST", "/api/instance/new", json={"name": "next"})
        assert new.error[0] == 500
        gone = await server.request("DELETE", "/api/instance/delete/demo")
        assert gone.error == (500, "Failed to get instance")
        # Reading goes on, and so does everything that is in memory.
        get = await server.request("GET", "/api/events/getWebsocket/demo")
        assert get.json["websocket"]["enabled"] is True
        await server.publish({"n": 1})
        assert await client.data() == {"n": 1}
        assert (await server.connect()).answer.status == 101
    await server.create("next")
    assert (await server.configure(events=["call.update"], enabled=True)).status == 200
    await server.publish({"n": 2})
    await server.publish({"n": 3}, event="call.update")
    assert await client.data() == {"n": 3}


@pytest.mark.parametrize("jump", [86_400, -86_400], ids=["forward", "backward"])
async def test_a_wall_clock_that_jumps_changes_no_limit_and_ends_nobody(
    server: Server,
    demo: str,
    mock_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    jump: float,
) -> None:
    client = await server.connect()
    before = client.answer
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    # A minute of the wall clock has gone by, or never will: the window is the same.
    after = await server.request("GET", "/api/instance/list")
    assert after.rate_limit == (100, before.rate_limit[1] - 1)
    # The time at which it ends is told by the clock that the client is told the time by.
    shift = int(after.headers["x-ratelimit-reset"]) - int(before.headers["x-ratelimit-reset"])
    assert abs(shift - jump) < 60
    await wait_all_tasks_blocked()
    mock_clock.jump(29)
    assert await client.is_silent(), "no heartbeat was missed"
    await server.publish({"n": 1})
    assert await client.data() == {"n": 1}
    mock_clock.jump(31)
    again = await server.request("GET", "/api/instance/list")
    assert again.rate_limit == (100, 99), "the next window begins when this one is over"
