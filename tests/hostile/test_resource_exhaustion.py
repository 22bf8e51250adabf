"""No descriptors, a full disk, a locked database, a clock that jumps: graceful degradation."""

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
from tests.e2e.clients import RawClient, WebsocketsClient, connect_arguments
from tests.e2e.harness import TIMEOUT_SECONDS, wait_until
from tests.e2e.harness import Server as Process
from tests.e2e.harness import StartServer as StartProcess

EVENT = {"event": "call.update", "data": {"n": 1}}
FAILED = {"success": False, "error": {"message": "Failed to get instance"}}

PING = 9

# Log events.
ACCEPTING_PAUSED, ACCEPTING_RESUMED = "accepting paused", "accepting resumed"

# Settings for a server with few descriptors and without rate limits.
FEW_DESCRIPTORS = {"command": ("prlimit", "--nofile=100:100"), "global_rate_limit": ""}


def connect(process: Process) -> socket.socket:
    url = urlsplit(process.url)
    assert url.hostname
    return socket.create_connection((url.hostname, url.port), timeout=TIMEOUT_SECONDS)


def set_websocket(process: Process, media: bool = False) -> tuple[int, object]:
    body = {"enabled": True, "mediaBase64": media}
    return process.request("POST", "/api/events/websocket/demo", body)


def next_message(client: RawClient) -> bytes:
    """The next message; pings are skipped, as they may come at any time."""
    opcode, payload = client.receive()
    return next_message(client) if opcode == PING else payload


class TestDescriptors:
    def test_new_connections_wait_while_websockets_hold_all_descriptors(
        self, start_process: StartProcess
    ) -> None:
        process = start_process(**FEW_DESCRIPTORS)
        target = connect_arguments(process.url, "demo", process.create_instance("demo"))
        with ExitStack() as stack:
            process.close_http_connection()
            clients = [stack.enter_context(closing(RawClient(*target)))]
            while not process.logged(ACCEPTING_PAUSED):
                clients.append(stack.enter_context(closing(RawClient(*target))))
                time.sleep(0.01)
            assert 40 < len(clients) < 75
            # The kernel accepts these connections; the server cannot, and reads no request.
            waiting = [stack.enter_context(connect(process)) for _ in range(10)]
            for each in waiting:
                each.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            clients.pop(0).close()
            # Served one after the other with the descriptor that is free now.
            for each in waiting:
                assert each.recv(100).startswith(b"HTTP/1.1 200 ")
                each.close()
            # The descriptors that the database needs were never used up.
            assert set_websocket(process)[0] == 200
            assert process.publish("demo", EVENT) == len(clients)
            for client in clients:
                assert b'"data":{"n": 1}' in next_message(client)
        assert len(process.logged(ACCEPTING_PAUSED)) == 1
        assert len(process.logged(ACCEPTING_RESUMED)) <= 1

    def test_silent_connections_are_evicted_for_requests(self, start_process: StartProcess) -> None:
        process = start_process(**FEW_DESCRIPTORS)
        target = connect_arguments(process.url, "demo", process.create_instance("demo"))
        with ExitStack() as stack:
            client = stack.enter_context(closing(RawClient(*target)))
            process.close_http_connection()
            silent = [stack.enter_context(connect(process)) for _ in range(150)]
            wait_until(lambda: process.logged(ACCEPTING_PAUSED), "accepting is paused")
            # Last in the accept queue, and long before their request timeout.
            assert process.publish("demo", EVENT) == 1
            assert b'"data":{"n": 1}' in next_message(client)
            assert silent[0].recv(1) == b"", "the oldest was closed"

    def test_existing_connections_are_served_without_free_descriptors(
        self, start_process: StartProcess
    ) -> None:
        process = start_process(global_rate_limit="")
        target = connect_arguments(process.url, "demo", process.create_instance("demo"))
        with ExitStack() as stack:
            client = stack.enter_context(closing(WebsocketsClient(*target)))
            with no_descriptors(process):
                assert process.publish("demo", EVENT) == 1
                client.receive()
                # The database cannot be opened either.
                assert set_websocket(process) == (500, FAILED)
                new_client = stack.enter_context(connect(process))
                new_client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
                wait_until(lambda: process.logged(ACCEPTING_PAUSED), "accepting is paused")
                ticks = cpu_ticks(process)
                # Long enough for several attempts to accept, which must not log or use CPU time.
                time.sleep(1)
                assert cpu_ticks(process) - ticks < 0.5 * os.sysconf("SC_CLK_TCK")
            assert new_client.recv(100).startswith(b"HTTP/1.1 404 ")
            process.close_http_connection()
            assert set_websocket(process)[0] == 200
            assert process.publish("demo", EVENT) == 1
            client.receive()
        warnings = [line for line in process.log.splitlines() if ACCEPTING_PAUSED in line]
        assert len(warnings) == 1
        assert "emfile" in warnings[0]


@contextmanager
def no_descriptors(process: Process) -> Iterator[None]:
    """Within the block, let the server open no further descriptor."""
    pid = process.process.pid
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    lowest_free = next(number for number in range(10_000) if number not in used)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def cpu_ticks(process: Process) -> int:
    """CPU time of the server so far, in clock ticks."""
    stat = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(stat[11]) + int(stat[12])


def test_full_disk_stops_only_changes(start_process: StartProcess) -> None:
    process = start_process(global_rate_limit="")
    token = process.create_instance("demo")
    with closing(WebsocketsClient(*connect_arguments(process.url, "demo", token))) as client:
        with full_disk(process):
            for _ in range(3):
                assert set_websocket(process, media=True) == (500, FAILED)
                status, body = process.request("POST", "/api/instance/new", {"name": "next"})
                assert (status, body["success"]) == (500, False)
                assert process.publish("demo", EVENT) == 1
                client.receive()
            # A new subscriber is admitted, as that needs memory only; the log line is lost.
            with closing(
                WebsocketsClient(*connect_arguments(process.url, "demo", token))
            ) as second:
                assert process.publish("demo", EVENT) == 2
                second.receive()
                client.receive()
        assert set_websocket(process, media=True)[0] == 200
        process.create_instance("next")
        assert process.publish("demo", EVENT) == 1
        client.receive()


@contextmanager
def full_disk(process: Process) -> Iterator[None]:
    """Within the block, let the server write to no file, neither database nor log."""
    pid = process.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


# Takes the write lock of the database, and keeps it until standard input ends.
LOCK_SCRIPT = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as database:
    database.execute("begin immediate")
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within the block, another process holds the write lock of the database."""
    command = [sys.executable, "-c", LOCK_SCRIPT, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"locked\n"
        yield
        other.stdin.close()


async def test_locked_database_stops_only_changes(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_timeout = partial(open_database, busy_timeout_seconds=0.05)
    monkeypatch.setattr(ryze.app, "open_database", short_timeout)
    server = await start_server(global_rate_limit=None)
    await server.create()
    client = await server.connect()
    with locked(server.database_path):
        assert (await server.configure(enabled=False)).error == (500, "Failed to get instance")
        created = await server.request("POST", "/api/instance/new", json={"name": "next"})
        assert created.error[0] == 500
        deleted = await server.request("DELETE", "/api/instance/delete/demo")
        assert deleted.error == (500, "Failed to get instance")
        # Reads and everything in memory continue.
        get = await server.request("GET", "/api/events/getWebsocket/demo")
        assert get.json["websocket"]["enabled"] is True
        await server.publish({"n": 1})
        assert await client.data() == {"n": 1}
        assert (await server.connect()).response.status == 101
    await server.create("next")
    assert (await server.configure(events=["call.update"], enabled=True)).status == 200
    await server.publish({"n": 2})
    await server.publish({"n": 3}, event="call.update")
    assert await client.data() == {"n": 3}


@pytest.mark.parametrize("jump", [86_400, -86_400], ids=["forward", "backward"])
async def test_wall_clock_jump_changes_no_limit_and_closes_no_connection(
    server: Server,
    demo: str,
    mock_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    jump: float,
) -> None:
    client = await server.connect()
    before = client.response
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    # The rate limit window does not follow the wall clock.
    after = await server.request("GET", "/api/instance/list")
    assert after.rate_limit == (100, before.rate_limit[1] - 1)
    # The reset time sent to clients does, as they compare it with the wall clock.
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
