"""The subscribers and the publisher of one server: opening, publishing, collecting, checking."""

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from bench.events import json_number
from bench.load_generator.producers import Producer, open_publisher
from bench.load_generator.subscribers import (
    PATIENCE_SECONDS,
    Address,
    Stream,
    Subscriber,
    open_websockets,
)
from bench.websocket_client import parse_frames

__all__ = ["Crowd", "LoadError"]

# One client's frames are decoded for about so many deliveries.
_DELIVERIES_PER_SAMPLE = 1000

# Slow clients that read at all do so this often.
_SIP_SECONDS = 0.02


class LoadError(Exception):
    """The server has not done what it must."""


class Crowd:
    """Subscribers, those of them that are slow, and one publisher."""

    def __init__(self) -> None:
        self.stream = Stream()
        # Those who read all that comes; closed ones are taken out by `reap`.
        self.readers: list[Subscriber] = []
        # Those who do not, and how many bytes a second each of them reads.
        self.slow: list[Subscriber] = []
        self.slow_rate = 0.0
        self.decoded = 0
        self.published = 0
        self.poller = select.epoll()
        # What to do when a descriptor is readable: the readers', and the publisher's.
        self.handlers: dict[int, Callable[[], int]] = {}
        self._publisher: Producer | None = None
        # An event with "%010d" for its number.
        self._template = b""
        # Deliveries since a client's frames were decoded, and how often that has been.
        self._unsampled = 0
        self._samples = 0
        self._last_sip = 0.0

    @property
    def publisher(self) -> Producer:
        """The publisher; there must be one."""
        if self._publisher is None:
            raise LoadError("there is no publisher yet")
        return self._publisher

    # Connections

    def connect(
        self, address: Address, count: int, at_once: int, *, narrow: bool
    ) -> dict[str, int]:
        """Open readers; how often which failure has come."""

        def add(sock: socket.socket, early: bytes) -> None:
            subscriber = Subscriber(sock, self.stream, early)
            subscriber.total = self.stream.due
            self.readers.append(subscriber)
            self._watch(subscriber)

        return open_websockets(address, count, at_once, add, narrow=narrow)

    def disconnect(self) -> None:
        """Reset all subscribers' connections, as a network that fails."""
        linger = struct.pack("ii", 1, 0)
        for subscriber in self.readers + self.slow:
            with suppress(OSError):
                subscriber.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            subscriber.give_up()
        self.readers, self.slow = [], []
        self.handlers.clear()
        self.poller.close()
        self.poller = select.epoll()
        if self._publisher is not None:
            self._watch_publisher()
        self.stream.closed = 0

    def open_publisher(self, kind: str, address: Address, template: str) -> int:
        """Open the publisher, and learn from a first event how long a frame is."""
        if self._publisher is not None:
            self.handlers.pop(self._publisher.socket.fileno(), None)
            self._publisher.socket.close()
        self._publisher = open_publisher(kind, address)
        self._watch_publisher()
        self._template = template.encode()
        return self._learn() if self.readers else 0

    def _watch(self, subscriber: Subscriber) -> None:
        self.handlers[subscriber.socket.fileno()] = subscriber.receive
        # On edges, as the level costs another look at each socket: see `receive`. What has
        # come already is an edge too.
        self.poller.register(subscriber.socket, select.EPOLLIN | select.EPOLLET)

    def _watch_publisher(self) -> None:
        self.handlers[self.publisher.socket.fileno()] = self._hear_publisher
        self.poller.register(self.publisher.socket, select.EPOLLIN)

    def _hear_publisher(self) -> int:
        self.publisher.receive()
        return 0

    def _learn(self) -> int:
        """Publish one event, and take its frame as the measure of all that follow."""
        self.publish(1)
        first = self.readers[0]
        payload = first.first_frame(time.perf_counter() + PATIENCE_SECONDS)
        _check_number(payload, self.published - 1)
        size = self.stream.frame_size
        self.stream.due = size
        for subscriber in self.readers:
            subscriber.total = 0
        first.total = size
        self.collect((len(self.readers) - 1) * size)
        return size

    # Events

    def publish(self, count: int) -> None:
        """Publish so many events in one piece."""
        template, number = self._template, self.published
        self.publisher.publish([template % each for each in range(number, number + count)])
        self.published += count
        self.stream.expect(count)

    def collect(self, missing: int) -> None:
        """Receive until so many text bytes have come, and the publisher has its answer."""
        poll, handlers, publisher = self.poller.poll, self.handlers, self.publisher
        while missing > 0 or publisher.is_waiting:
            events = poll(PATIENCE_SECONDS)
            if not events:
                raise LoadError(f"{missing} bytes are missing after {PATIENCE_SECONDS} s")
            for fd, _ in events:
                missing -= handlers[fd]()
        if missing < 0:
            raise LoadError(f"{-missing} bytes too many")

    def attend(self) -> None:
        """Take what has come unasked: pings, which must be answered, and closes.

        Raises:
            LoadError: that was an event.
        """
        missing = sum(self.handlers[fd]() for fd, _ in self.poller.poll(0))
        if missing:
            raise LoadError(f"{missing} bytes of events that nobody has published")

    def hear_answer(self) -> None:
        """Wait until the publisher has its answer, and for nothing else."""
        while self.publisher.is_waiting:
            self.publisher.receive()

    def sip(self) -> None:
        """Let the slow clients read what their rate allows since the last time."""
        now = time.perf_counter()
        if not self.slow_rate or now - self._last_sip < _SIP_SECONDS:
            return
        # Whoever has not sipped for long does not gulp.
        share = int(min(now - self._last_sip, 2 * _SIP_SECONDS) * self.slow_rate) or 1
        self._last_sip = now
        closed = self.stream.closed
        for subscriber in self.slow:
            if subscriber.socket.fileno() != -1:
                subscriber.receive(share)
        # Only those who read all are counted there.
        self.stream.closed = closed

    def reap(self) -> int:
        """Forget readers that the server has closed; how many."""
        if not self.stream.closed:
            return 0
        left = [sub for sub in self.readers if sub.socket.fileno() != -1]
        gone = len(self.readers) - len(left)
        self.readers = left
        self.stream.closed = 0
        return gone

    # Samples

    def next_sample(self, deliveries: int) -> Subscriber | None:
        """Whose frames of the next batch are decoded, if it is time for that."""
        self._unsampled += deliveries
        if self._unsampled < _DELIVERIES_PER_SAMPLE:
            return None
        self._unsampled = 0
        return self.sample()

    def sample(self) -> Subscriber:
        """Have a reader's frames decoded from now on, another one each time."""
        self._samples += 1
        subscriber = self.readers[self._samples % len(self.readers)]
        subscriber.sampled = bytearray()
        return subscriber

    def check_sample(self, subscriber: Subscriber, count: int) -> None:
        """Are these the last `count` events, whole and in order?"""
        data, subscriber.sampled = subscriber.sampled, None
        if subscriber.close_code is not None or data is None:
            return
        number = self.published - count
        for frame in parse_frames(data):
            _check_number(frame.payload, number)
            number += 1
        if number != self.published:
            raise LoadError(f"{self.published - number} events are missing in a sample")
        self.decoded += count


def _check_number(payload: bytes, expected: int) -> None:
    if (number := json_number(payload)) != expected:
        raise LoadError(f"got event {number}, expected {expected}")
