"""The healthy subscribers: one epoll loop for all of them, inside one task.

A task per subscriber would cost more than the server takes to serve it.
"""

import select
import socket
from contextlib import suppress

import trio

from bench.websocket_client import CLOSE, client_frame
from tests.clients import RawClient
from tests.soak.expected_stream import Violation
from tests.soak.instance import Instance
from tests.soak.stream_checker import StreamChecker
from tests.soak.violations import Violations

__all__ = ["HealthySubscriber", "HealthySubscribers"]

_CHUNK_BYTES = 262144

# Loops between two cuts at the front of the expected streams.
_LOOPS_PER_CUT = 64


class HealthySubscriber:
    """One subscriber that keeps up.

    Args:
        client: after its 101; its socket is taken over.
        checker: checks what it receives.
        instance: its instance.
    """

    def __init__(self, client: RawClient, checker: StreamChecker, instance: Instance) -> None:
        stream = client.stream
        assert isinstance(stream, trio.SocketStream)
        self.socket = socket.socket(fileno=stream.socket.detach())
        self.socket.setblocking(False)
        self.checker = checker
        self.instance = instance
        # The close codes with which it may end now; any other end is a violation.
        self.allowed_close_codes: frozenset[int] = frozenset()
        # Set when its connection is closed.
        self.ended = trio.Event()

    def start_closing(self) -> None:
        """Send a close frame; `ended` is set when the server has replied and closed."""
        self.allowed_close_codes = frozenset({1000})
        with suppress(OSError):
            self.socket.send(client_frame((1000).to_bytes(2, "big"), CLOSE))


class HealthySubscribers:
    """All healthy subscribers of all instances."""

    def __init__(self, violations: Violations) -> None:
        self._violations = violations
        self._epoll = select.epoll()
        self._subscribers: dict[int, HealthySubscriber] = {}
        self._buffer = bytearray(_CHUNK_BYTES)
        # Bytes received, frame headers and control frames included.
        self.received_bytes = 0

    def __len__(self) -> int:
        return len(self._subscribers)

    def add(
        self, client: RawClient, checker: StreamChecker, instance: Instance
    ) -> HealthySubscriber:
        """Take over a client that has just received its 101."""
        early = client.take_buffer()
        subscriber = HealthySubscriber(client, checker, instance)
        instance.healthy.add(checker)
        self._subscribers[subscriber.socket.fileno()] = subscriber
        self._epoll.register(subscriber.socket, select.EPOLLIN)
        if early:
            self._check(subscriber, early)
        return subscriber

    def remove(self, subscriber: HealthySubscriber) -> None:
        """Close its connection without a closing handshake. Idempotent."""
        if self._subscribers.pop(subscriber.socket.fileno(), None) is None:
            return
        subscriber.socket.close()
        subscriber.instance.healthy.discard(subscriber.checker)
        subscriber.instance.checkers.discard(subscriber.checker)
        subscriber.ended.set()

    async def run(self) -> None:
        """Receive until cancelled."""
        loops = 0
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            ready = [self._subscribers[fd] for fd, _ in self._epoll.poll(0)]
            for subscriber in ready:
                self._receive(subscriber)
            self._check_ahead()
            loops += 1
            for instance in {subscriber.instance for subscriber in ready}:
                instance.notify_progress(cut=loops % _LOOPS_PER_CUT == 0)

    def _receive(self, subscriber: HealthySubscriber) -> None:
        try:
            size = subscriber.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size:
            self.received_bytes += size
            self._check(subscriber, memoryview(self._buffer)[:size])
        else:
            self._end(subscriber)

    def _check(self, subscriber: HealthySubscriber, data: bytes | memoryview) -> None:
        try:
            reply = subscriber.checker.receive(data)
        except Violation as violation:
            self._violations.add(
                f"healthy subscriber of {subscriber.instance.name}", str(violation)
            )
            self.remove(subscriber)
            return
        if reply:
            with suppress(OSError):
                subscriber.socket.send(reply)

    def _end(self, subscriber: HealthySubscriber) -> None:
        code = subscriber.checker.close_code
        if code not in subscriber.allowed_close_codes:
            allowed = sorted(subscriber.allowed_close_codes) or "an open connection"
            self._violations.add(
                f"healthy subscriber of {subscriber.instance.name}",
                f"ended with close code {code}, expected {allowed}",
            )
        self.remove(subscriber)

    def _check_ahead(self) -> None:
        """Check new subscribers again whose first event may be in the stream by now."""
        for subscriber in list(self._subscribers.values()):
            if subscriber.checker.is_ahead:
                self._check(subscriber, b"")
