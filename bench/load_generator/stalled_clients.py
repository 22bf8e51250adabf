"""Stalled clients: subscribers that read slowly or not at all, until the server evicts them."""

import select
import time
from typing import Any

from bench.load_generator.client_group import ClientGroup
from bench.load_generator.subscribers import Subscriber
from bench.socket_queues import count_bytes_taken

__all__ = ["close_stalled", "overflow", "resume_reading", "stall"]

# Resolution of the time at which the server has closed a connection.
_CLOSE_POLL_SECONDS = 0.001

# If the system has taken nothing during this many events, all have been evicted: a queue of 256
# would have overflowed.
_IDLE_EVENTS = 300


def stall(clients: ClientGroup, count: int, read_rate: float) -> dict[str, Any]:
    """Make the newest fast subscribers slow: `read_rate` bytes per second each, 0 for none.

    Returns:
        Their "ports".
    """
    clients.slow = clients.fast[-count:]
    clients.slow_read_rate = read_rate
    slow = set(map(id, clients.slow))
    clients.fast = [sub for sub in clients.fast if id(sub) not in slow]
    for subscriber in clients.slow:
        fd = subscriber.socket.fileno()
        clients.poller.unregister(fd)
        del clients.handlers[fd]
    return {"ports": [subscriber.socket.getsockname()[1] for subscriber in clients.slow]}


def overflow(clients: ClientGroup, max_events: int, close_seconds: float) -> dict[str, Any]:
    """Publish one event at a time until all slow subscribers are evicted.

    That is the case if the server says that an event went to the fast ones only, if it has
    closed all connections of slow ones, or if the system has taken nothing for `_IDLE_EVENTS`.

    Args:
        clients: some of them slow.
        max_events: give up after that many.
        close_seconds: wait that long for the server to close the connections.

    Returns:
        "ports" and "closed_at" per slow subscriber; "at", "taken" (bytes by port) and "clients"
        per event; "frame_size" in bytes; "first", the number of the first event.
    """
    ports = {sub.socket.getsockname()[1]: sub for sub in clients.slow}
    server_port = clients.producer.socket.getpeername()[1]
    receivers = len(clients.fast)
    at, taken, reached = [], [], []
    closed: dict[int, float] = {}
    for _ in range(max_events):
        at.append(time.perf_counter())
        clients.publish(1)
        clients.wait_received(receivers * clients.expected.frame_size)
        taken.append(_count_taken(server_port, ports, closed))
        reached.append(clients.producer.reached)
        if not taken[-1] or (reached[-1] is not None and reached[-1] <= receivers):
            break
        if len(taken) > _IDLE_EVENTS and taken[-1] == taken[-_IDLE_EVENTS]:
            break
        clients.read_slowly()
    deadline = time.perf_counter() + close_seconds
    while len(closed) < len(ports) and time.perf_counter() < deadline:
        time.sleep(_CLOSE_POLL_SECONDS)
        _count_taken(server_port, ports, closed)
    return {
        "ports": list(ports),
        "frame_size": clients.expected.frame_size,
        "first": clients.published - len(taken),
        "at": at,
        "taken": taken,
        "clients": reached,
        "closed_at": [closed.get(port) for port in ports],
    }


def _count_taken(
    server_port: int, ports: dict[int, Subscriber], closed: dict[int, float]
) -> dict[int, int]:
    """Return the bytes taken per port; add the time to `closed` for ports that are closed now."""
    taken = count_bytes_taken(
        server_port, ports, {port: sub.received for port, sub in ports.items()}
    )
    now = time.perf_counter()
    for port in ports:
        if port not in taken:
            closed.setdefault(port, now)
    return taken


def resume_reading(clients: ClientGroup, seconds: float) -> dict[str, Any]:
    """Let the slow subscribers read until the server closes them, for at most `seconds`.

    Returns:
        "received" (complete messages) and "close_codes" per slow subscriber.
    """
    deadline = time.perf_counter() + seconds
    slow = clients.slow
    poller = select.epoll()
    reading = {sub.socket.fileno(): sub for sub in slow if sub.socket.fileno() != -1}
    for fd in reading:
        poller.register(fd, select.EPOLLIN)
    while (left := deadline - time.perf_counter()) > 0 and reading:
        for fd, _ in poller.poll(left):
            reading[fd].receive()
            if reading[fd].close_code is not None:
                reading.pop(fd).close()
    poller.close()
    close_stalled(clients)
    size = clients.expected.frame_size
    return {
        "received": [sub.received // size for sub in slow],
        "close_codes": [sub.close_code for sub in slow],
    }


def close_stalled(clients: ClientGroup) -> None:
    """Close the slow subscribers' sockets, and forget them."""
    for subscriber in clients.slow:
        subscriber.socket.close()
    clients.slow = []
    clients.expected.closed_subscribers = 0
