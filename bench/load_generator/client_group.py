"""`ClientGroup`: the subscribers and the producer of one server, in one epoll loop."""

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from bench.errors import DeliveryError
from bench.events import parse_event_number
from bench.load_generator.producers import Producer, open_producer
from bench.load_generator.subscribers import (
    TIMEOUT_SECONDS,
    Address,
    ExpectedStream,
    Subscriber,
    open_websockets,
)
from bench.websocket_client import parse_frames

__all__ = ["ClientGroup"]

# One subscriber's frames are decoded per this many deliveries.
_DELIVERIES_PER_INSPECTION = 1000

# Interval at which slow subscribers read, if they read at all.
_SLOW_READ_SECONDS = 0.02


class ClientGroup:
    """Fast subscribers, slow subscribers and one producer of one server.

    An inspection decodes and compares the frames of one subscriber; all others are checked by
    their number of bytes and the places of their frames (see `bench.load_generator.subscribers`).
    """

    def __init__(self) -> None:
        self.expected = ExpectedStream()
        # Subscribers that read everything at once; `remove_closed` takes closed ones out.
        self.fast: list[Subscriber] = []
        # Subscribers that `stalled_clients.stall` took out of `fast`, and the bytes per second
        # that each of them reads.
        self.slow: list[Subscriber] = []
        self.slow_read_rate = 0.0
        # Events decoded in inspections, and events published so far.
        self.decoded = 0
        self.published = 0
        # The fast subscribers and the producer, and per descriptor the function that receives
        # when it is readable and returns the text bytes that it accounts for.
        self.poller = select.epoll()
        self.handlers: dict[int, Callable[[], int]] = {}
        self._producer: Producer | None = None
        # An event with "%010d" for its number.
        self._template = b""
        # Deliveries since the last inspection, and inspections so far.
        self._uninspected = 0
        self._inspections = 0
        self._last_slow_read = 0.0

    @property
    def producer(self) -> Producer:
        """The producer.

        Raises:
            DeliveryError: `open_producer` has not been called.
        """
        if self._producer is None:
            raise DeliveryError("there is no producer yet")
        return self._producer

    # Connections

    def connect(
        self, address: Address, count: int, concurrency: int, *, has_small_windows: bool
    ) -> dict[str, int]:
        """Open fast subscribers; return the failures and how often each occurred."""

        def add(sock: socket.socket, received: bytes) -> None:
            subscriber = Subscriber(sock, self.expected, received)
            subscriber.received = self.expected.total
            self.fast.append(subscriber)
            self._register(subscriber)

        return open_websockets(
            address, count, concurrency, add, has_small_windows=has_small_windows
        )

    def disconnect(self) -> None:
        """Reset the connections of all subscribers, like a network failure."""
        linger = struct.pack("ii", 1, 0)
        for subscriber in self.fast + self.slow:
            with suppress(OSError):
                subscriber.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            subscriber.close()
        self.fast, self.slow = [], []
        self.handlers.clear()
        self.poller.close()
        self.poller = select.epoll()
        if self._producer is not None:
            self._register_producer()
        self.expected.closed_subscribers = 0

    def open_producer(self, kind: str, address: Address, template: str) -> int:
        """Open the producer; learn the size of a frame from a first event, and return it.

        Without subscribers there is no frame, and the size is 0.
        """
        if self._producer is not None:
            self.handlers.pop(self._producer.socket.fileno(), None)
            self._producer.socket.close()
        self._producer = open_producer(kind, address)
        self._register_producer()
        self._template = template.encode()
        return self._learn_frame_size() if self.fast else 0

    def remove_closed(self) -> int:
        """Forget fast subscribers that the server has closed; return how many."""
        if not self.expected.closed_subscribers:
            return 0
        before = len(self.fast)
        self.fast = [sub for sub in self.fast if sub.socket.fileno() != -1]
        self.expected.closed_subscribers = 0
        return before - len(self.fast)

    def _register(self, subscriber: Subscriber) -> None:
        self.handlers[subscriber.socket.fileno()] = subscriber.receive
        # Edge-triggered: level-triggered epoll would check each socket again, see `receive`.
        # Bytes that have arrived before the registration trigger an edge too.
        self.poller.register(subscriber.socket, select.EPOLLIN | select.EPOLLET)

    def _register_producer(self) -> None:
        self.handlers[self.producer.socket.fileno()] = self._receive_producer
        self.poller.register(self.producer.socket, select.EPOLLIN)

    def _receive_producer(self) -> int:
        self.producer.receive()
        return 0

    def _learn_frame_size(self) -> int:
        """Publish one event; all frames that follow must have the size of its frame."""
        self.publish(1)
        first = self.fast[0]
        payload = first.receive_first_frame(time.perf_counter() + TIMEOUT_SECONDS)
        _check_number(payload, self.published - 1)
        size = self.expected.frame_size
        self.expected.total = size
        for subscriber in self.fast:
            subscriber.received = 0
        first.received = size
        self.wait_received((len(self.fast) - 1) * size)
        return size

    # Events

    def publish(self, count: int) -> None:
        """Publish that many events in one write."""
        template, number = self._template, self.published
        self.producer.publish([template % each for each in range(number, number + count)])
        self.published += count
        self.expected.add(count)

    def wait_received(self, missing: int) -> None:
        """Wait until that many text bytes have been received, and the producer has its ack.

        Raises:
            DeliveryError: there are more bytes, or nothing arrives for `TIMEOUT_SECONDS`.
        """
        poll, handlers, producer = self.poller.poll, self.handlers, self.producer
        while missing > 0 or producer.is_awaiting_ack:
            events = poll(TIMEOUT_SECONDS)
            if not events:
                raise DeliveryError(f"{missing} bytes are missing after {TIMEOUT_SECONDS} s")
            for fd, _ in events:
                missing -= handlers[fd]()
        if missing < 0:
            raise DeliveryError(f"{-missing} bytes more than expected")

    def wait_acknowledged(self) -> None:
        """Wait until the producer has its ack, without receiving events."""
        while self.producer.is_awaiting_ack:
            self.producer.receive()

    def receive_unsolicited(self) -> None:
        """Receive pings and closes that have arrived while nothing was expected.

        Raises:
            DeliveryError: there were events.
        """
        surplus = sum(self.handlers[fd]() for fd, _ in self.poller.poll(0))
        if surplus:
            raise DeliveryError(f"{surplus} bytes of events that were not published")

    def read_slowly(self) -> None:
        """Let the slow subscribers read what their rate allows since the last call."""
        now = time.perf_counter()
        if not self.slow_read_rate or now - self._last_slow_read < _SLOW_READ_SECONDS:
            return
        # At most two intervals at once: after a pause the rate is not caught up with.
        seconds = min(now - self._last_slow_read, 2 * _SLOW_READ_SECONDS)
        limit = int(seconds * self.slow_read_rate) or 1
        self._last_slow_read = now
        closed = self.expected.closed_subscribers
        for subscriber in self.slow:
            if subscriber.socket.fileno() != -1:
                subscriber.receive(limit)
        # It counts fast subscribers only.
        self.expected.closed_subscribers = closed

    # Inspections

    def start_due_inspection(self, deliveries: int) -> Subscriber | None:
        """Start an inspection if it is due with so many more deliveries; return its subscriber."""
        self._uninspected += deliveries
        if self._uninspected < _DELIVERIES_PER_INSPECTION:
            return None
        self._uninspected = 0
        return self.start_inspection()

    def start_inspection(self) -> Subscriber:
        """Keep the frames of a fast subscriber from now on, another subscriber each time."""
        self._inspections += 1
        subscriber = self.fast[self._inspections % len(self.fast)]
        subscriber.inspected = bytearray()
        return subscriber

    def finish_inspection(self, subscriber: Subscriber, count: int) -> None:
        """Check that the frames kept are the last `count` events, complete and in order.

        Raises:
            DeliveryError: an event is missing or in the wrong place.
            ValueError: a payload is not an event of the bench.
        """
        data, subscriber.inspected = subscriber.inspected, None
        if subscriber.close_code is not None or data is None:
            return
        number = self.published - count
        for frame in parse_frames(data):
            _check_number(frame.payload, number)
            number += 1
        if number != self.published:
            raise DeliveryError(f"{self.published - number} events are missing in an inspection")
        self.decoded += count


def _check_number(payload: bytes, expected: int) -> None:
    if (number := parse_event_number(payload)) != expected:
        raise DeliveryError(f"got event {number}, expected {expected}")
