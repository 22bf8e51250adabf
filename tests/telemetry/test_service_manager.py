"""Notifications to a service manager, on real datagram sockets."""

import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ryze.telemetry.service_manager import READY, STOPPING, Notifier

Logs = list[MutableMapping[str, Any]]


@contextmanager
def bound_manager(address: str) -> Iterator[socket.socket]:
    """Bind a service manager's socket; a leading NUL means the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(60)
        listening.bind(address)
        yield listening


def test_notifies_a_socket_at_a_path(tmp_path: Path, logs: Logs) -> None:
    address = str(tmp_path / "notify")
    with bound_manager(address) as listening:
        notifier = Notifier(address)
        notifier.notify(READY)
        notifier.notify(STOPPING)
        assert listening.recv(100) == b"READY=1"
        assert listening.recv(100) == b"STOPPING=1"
    assert logs == []


def test_notifies_a_socket_in_the_abstract_namespace(tmp_path: Path, logs: Logs) -> None:
    with bound_manager("\0" + str(tmp_path)) as listening:
        Notifier("@" + str(tmp_path)).notify(READY)
        assert listening.recv(100) == b"READY=1"
    assert logs == []


def test_without_address_nothing_is_sent(logs: Logs) -> None:
    Notifier().notify(READY)
    assert logs == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "@not bound", "x" * 200, "vsock:2:1"])
def test_missing_listener_is_logged_and_not_raised(address: str, logs: Logs) -> None:
    Notifier(address).notify(READY)
    [line] = logs
    assert (line["event"], line["log_level"]) == ("service manager not notified", "warning")
    assert line["reason"]


def test_full_queue_is_logged_and_not_waited_for(tmp_path: Path, logs: Logs) -> None:
    address = str(tmp_path / "notify")
    with bound_manager(address):
        notifier = Notifier(address)
        for _ in range(100_000):
            notifier.notify(READY)
            if logs:
                break
    assert logs, "the queue of the socket never filled up"
