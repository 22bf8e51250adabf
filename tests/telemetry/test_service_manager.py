"""The service manager is told in its own words, on a real datagram socket."""

import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ryze.telemetry.service_manager import READY, STOPPING, Notifier

Logs = list[MutableMapping[str, Any]]


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """A service manager that listens at `address`, a leading NUL meaning the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(60)
        listening.bind(address)
        yield listening


def test_at_a_path(tmp_path: Path, logs: Logs) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as listening:
        notifier = Notifier(address)
        notifier.tell(READY)
        notifier.tell(STOPPING)
        assert listening.recv(100) == b"READY=1"
        assert listening.recv(100) == b"STOPPING=1"
    assert logs == []


def test_in_the_abstract_namespace(tmp_path: Path, logs: Logs) -> None:
    with manager("\0" + str(tmp_path)) as listening:
        Notifier("@" + str(tmp_path)).tell(READY)
        assert listening.recv(100) == b"READY=1"
    assert logs == []


def test_where_nobody_asked_nothing_is_sent(logs: Logs) -> None:
    Notifier().tell(READY)
    assert logs == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody here", "x" * 200, "vsock:2:1"])
def test_who_does_not_listen_stops_nothing(address: str, logs: Logs) -> None:
    Notifier(address).tell(READY)
    [line] = logs
    assert (line["event"], line["log_level"]) == ("cannot tell the service manager", "warning")
    assert line["reason"]


def test_who_has_heard_too_much_is_not_waited_for(tmp_path: Path, logs: Logs) -> None:
    address = str(tmp_path / "notify")
    with manager(address):
        notifier = Notifier(address)
        for _ in range(100_000):
            notifier.tell(READY)
            if logs:
                break
    assert logs, "its queue is full at some time"
