"""Clients that read too slowly or not at all: until they are dropped, and what they see then."""

import select
import time
from typing import Any

from bench.load_generator.client_group import Crowd
from bench.load_generator.subscribers import Subscriber
from bench.socket_queues import bytes_taken

__all__ = ["dismiss", "overflow", "resume", "stall"]

# How exactly the moment is known at which the server has closed a connection.
_LOOK_SECONDS = 0.001

# A queue of 256, and some more.
_ENOUGH_EVENTS = 300


def stall(crowd: Crowd, count: int, read_rate: float) -> dict[str, Any]:
    """Let the newest readers read no more than `read_rate` bytes a second; 0: not at all."""
    crowd.slow = crowd.readers[-count:]
    crowd.slow_rate = read_rate
    slow = set(map(id, crowd.slow))
    crowd.readers = [sub for sub in crowd.readers if id(sub) not in slow]
    for subscriber in crowd.slow:
        fd = subscriber.socket.fileno()
        crowd.poller.unregister(fd)
        del crowd.handlers[fd]
    return {"ports": [subscriber.socket.getsockname()[1] for subscriber in crowd.slow]}


def overflow(crowd: Crowd, stop_after: int, patience: float) -> dict[str, Any]:
    """Publish one event at a time, and note what the slow clients' systems hold.

    Ends when the server says that it hands out to the readers only, where it says so; when it
    has closed all the slow ones; or when nothing more has been taken of any for so long that all
    must have been dropped.

    Args:
        crowd: some of it slow.
        stop_after: publish no more than so many.
        patience: wait so long for the connections to be closed once all have been dropped.
    """
    ports = {sub.socket.getsockname()[1]: sub for sub in crowd.slow}
    server_port = crowd.publisher.socket.getpeername()[1]
    receivers = len(crowd.readers)
    at, taken, clients = [], [], []
    closed: dict[int, float] = {}
    for _ in range(stop_after):
        at.append(time.perf_counter())
        crowd.publish(1)
        crowd.collect(receivers * crowd.stream.frame_size)
        taken.append(_look(server_port, ports, closed))
        clients.append(crowd.publisher.clients)
        if not taken[-1] or (clients[-1] is not None and clients[-1] <= receivers):
            break
        if len(taken) > _ENOUGH_EVENTS and taken[-1] == taken[-_ENOUGH_EVENTS]:
            break
        crowd.sip()
    deadline = time.perf_counter() + patience
    while len(closed) < len(ports) and time.perf_counter() < deadline:
        time.sleep(_LOOK_SECONDS)
        _look(server_port, ports, closed)
    return {
        "ports": list(ports),
        "frame_size": crowd.stream.frame_size,
        "first": crowd.published - len(taken),
        "at": at,
        "taken": taken,
        "clients": clients,
        "closed_at": [closed.get(port) for port in ports],
    }


def _look(
    server_port: int, ports: dict[int, Subscriber], closed: dict[int, float]
) -> dict[int, int]:
    """Bytes taken of each client; those that the server has closed go to `closed`."""
    taken = bytes_taken(server_port, ports, {port: sub.total for port, sub in ports.items()})
    now = time.perf_counter()
    for port in ports:
        if port not in taken:
            closed.setdefault(port, now)
    return taken


def resume(crowd: Crowd, seconds: float) -> dict[str, Any]:
    """Let the slow clients read on until the server closes them, or time is up."""
    deadline = time.perf_counter() + seconds
    slow = crowd.slow
    poller = select.epoll()
    readers = {sub.socket.fileno(): sub for sub in slow if sub.socket.fileno() != -1}
    for fd in readers:
        poller.register(fd, select.EPOLLIN)
    while (left := deadline - time.perf_counter()) > 0 and readers:
        for fd, _ in poller.poll(left):
            readers[fd].receive()
            if readers[fd].close_code is not None:
                readers.pop(fd).give_up()
    poller.close()
    dismiss(crowd)
    size = crowd.stream.frame_size
    return {
        "received": [sub.total // size for sub in slow],
        "close_codes": [sub.close_code for sub in slow],
    }


def dismiss(crowd: Crowd) -> None:
    """The slow clients go; those that the server has not closed are closed here."""
    for subscriber in crowd.slow:
        subscriber.socket.close()
    crowd.slow = []
    crowd.stream.closed = 0
