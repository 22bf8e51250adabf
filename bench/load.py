"""The load generator: a process of its own that is told what to do, one JSON line at a time.

    {"do": "connect", "count": 1000}          -> {"ok": {"seconds": 0.4, "failures": {}}}
    {"do": "closed_loop", "seconds": 2, ...}  -> {"ok": {"deliveries": 183000, ...}}

The methods of `Load` that `_COMMANDS` names are the commands. It is one thread with raw sockets
and epoll, and reports the CPU time that it took: if that is close to the time that passed, the
figures say something about this program and not about the server. All times are those of
``time.perf_counter``, which is the same clock in all processes.
"""

import array
import gc
import json
import math
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bench.events import json_number
from bench.publishers import Publisher, open_publisher
from bench.queues import bytes_taken
from bench.subscribers import Address, Stream, Subscriber, open_websockets
from bench.wire import HandshakeError, parse_frames

__all__ = ["Load", "LoadError", "main"]

# The server has this long to deliver before the run is given up.
_PATIENCE_SECONDS = 15

# One client's frames are decoded for about so many deliveries.
_DELIVERIES_PER_SAMPLE = 1000

# A publisher that is late by less than this waits actively: epoll counts in milliseconds.
_SPIN_SECONDS = 0.001


class LoadError(Exception):
    """The server has not done what it must."""


class Load:
    """Subscribers and one publisher of one server."""

    def __init__(self) -> None:
        self._poller = select.epoll()
        self._stream = Stream()
        # Everybody who has connected, in that order; closed ones are taken out by `reap`.
        self._subscribers: list[Subscriber] = []
        # What to do when a descriptor is readable: those who read, and the publisher.
        self._handlers: dict[int, Callable[[], int]] = {}
        # Those who have stopped reading.
        self._stalled: list[Subscriber] = []
        self._publisher: Publisher | None = None
        # An event with "%010d" for its number, and how many have been published.
        self._template = b""
        self._published = 0
        # Deliveries since a client's frames were decoded, and how many frames have been.
        self._unsampled = 0
        self._decoded = 0

    # Connections

    def connect(
        self, count: int, port: int, path: str, headers: dict[str, str], bare: bool, at_once: int
    ) -> dict[str, Any]:
        """Open so many subscribers; at_once 0 means all of them at the same time."""
        started = time.perf_counter()
        failures = open_websockets(
            Address(port, path, headers, bare), count, at_once or count, self._add
        )
        self._watch(self._subscribers)
        return {"seconds": time.perf_counter() - started, "failures": failures}

    def disconnect(self) -> dict[str, Any]:
        """Reset all subscribers' connections, as a network that fails."""
        linger = struct.pack("ii", 1, 0)
        for subscriber in self._subscribers:
            with suppress(OSError):
                subscriber.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            subscriber.give_up()
        count = len(self._subscribers)
        self._subscribers.clear()
        self._stalled.clear()
        self._handlers.clear()
        self._poller.close()
        self._poller = select.epoll()
        self._watch_publisher()
        self._stream.closed = 0
        return {"count": count}

    def publisher(
        self,
        kind: str,
        port: int,
        path: str,
        headers: dict[str, str],
        bare: bool,
        template: str,
    ) -> dict[str, Any]:
        """Open the publisher, and learn from a first event how long a frame is."""
        if self._publisher is not None:
            self._handlers.pop(self._publisher.socket.fileno(), None)
            self._publisher.socket.close()
        self._publisher = open_publisher(kind, Address(port, path, headers, bare))
        self._watch_publisher()
        self._template = template.encode()
        return {"frame_size": self._learn() if self._subscribers else 0}

    def _add(self, sock: socket.socket, early: bytes) -> None:
        subscriber = Subscriber(sock, self._stream, early)
        subscriber.total = self._stream.due
        self._subscribers.append(subscriber)

    def _watch(self, subscribers: list[Subscriber]) -> None:
        for subscriber in subscribers:
            fd = subscriber.socket.fileno()
            if fd != -1 and fd not in self._handlers:
                self._handlers[fd] = subscriber.receive
                # On edges, as the level costs another look at each socket: see `receive`.
                self._poller.register(fd, select.EPOLLIN | select.EPOLLET)

    def _watch_publisher(self) -> None:
        if self._publisher is not None:
            self._handlers[self._publisher.socket.fileno()] = self._hear_publisher
            self._poller.register(self._publisher.socket, select.EPOLLIN)

    def _hear_publisher(self) -> int:
        assert self._publisher is not None
        self._publisher.receive()
        return 0

    def _learn(self) -> int:
        """Publish one event, and take its frame as the measure of all that follow."""
        self._publish(1)
        first = self._subscribers[0]
        payload = first.first_frame(time.perf_counter() + _PATIENCE_SECONDS)
        self._check_number(payload, self._published - 1)
        size = self._stream.frame_size
        self._stream.due = size
        for subscriber in self._subscribers:
            subscriber.total = 0
        first.total = size
        self._collect((len(self._subscribers) - 1) * size)
        return size

    # Loops

    def closed_loop(self, seconds: float, in_flight: int) -> dict[str, Any]:
        """Publish `in_flight` events, wait until everybody has got them, and so on."""
        spans = array.array("d")
        receivers = len(self._reading())
        deliveries = 0
        self._start_clock()
        begin = now = time.perf_counter()
        while now < begin + seconds:
            sampled = self._next_sample(receivers * in_flight)
            started = now
            self._publish(in_flight)
            self._collect(receivers * in_flight * self._stream.frame_size)
            now = time.perf_counter()
            spans.extend((started, now))
            if sampled is not None:
                self._check_sample(sampled, in_flight)
            deliveries += receivers * in_flight
            receivers -= self._reap()
        return {
            **self._used(begin, now),
            "deliveries": deliveries,
            "receivers": receivers,
            "closed": self._stream.closed,
            "decoded": self._decoded,
            "spans": spans.tolist(),
        }

    def open_loop(self, seconds: float, rate: float) -> dict[str, Any]:
        """Publish `rate` events a second, whatever has been received.

        Receipts are timed from the moment at which an event was due to be published.
        """
        self._start_clock()
        begin = time.perf_counter()
        tape = _Tape(begin, 1 / rate, round(seconds * rate), self._stream)
        readers = {sub.socket.fileno(): sub for sub in self._reading()}
        for subscriber in readers.values():
            subscriber.noted = 0
        missing = len(readers) * len(tape.last)
        while missing:
            if (late := time.perf_counter() - tape.next_due) >= 0 and not tape.is_over:
                self._publish(1)
                tape.published(late)
            for fd, _ in self._poller.poll(tape.timeout()):
                self._handlers[fd]()
                if reader := readers.get(fd):
                    missing -= tape.received(reader)
            if time.perf_counter() > begin + seconds + _PATIENCE_SECONDS:
                raise LoadError(f"{missing} deliveries are missing")
        return {
            **self._used(begin, time.perf_counter()),
            "receipts": tape.summary(tape.receipts),
            "last_receipts": tape.summary(tape.last),
            "lateness": tape.summary(tape.lateness),
            "histogram": tape.histogram(),
        }

    def ingest(self, seconds: float, in_flight: int) -> dict[str, Any]:
        """Publish as fast as the server takes it, `in_flight` events a write."""
        assert self._publisher is not None
        self._start_clock()
        begin = now = time.perf_counter()
        count = 0
        while now < begin + seconds:
            self._publish(in_flight)
            count += in_flight
            self._hear_answer()
            now = time.perf_counter()
        # What waits in sockets has not been taken yet.
        self._publisher.fence()
        self._hear_answer()
        now = time.perf_counter()
        return {**self._used(begin, now), "events": count}

    def _hear_answer(self) -> None:
        assert self._publisher is not None
        while self._publisher.is_waiting:
            self._publisher.receive()

    def _publish(self, count: int) -> None:
        assert self._publisher is not None
        template, number = self._template, self._published
        self._publisher.publish([template % each for each in range(number, number + count)])
        self._published += count
        self._stream.expect(count)

    def _collect(self, missing: int) -> None:
        """Receive until so many text bytes have come, and the publisher has its answer."""
        poll, handlers, publisher = self._poller.poll, self._handlers, self._publisher
        assert publisher is not None
        while missing > 0 or publisher.is_waiting:
            events = poll(_PATIENCE_SECONDS)
            if not events:
                raise LoadError(f"{missing} bytes are missing after {_PATIENCE_SECONDS} s")
            for fd, _ in events:
                missing -= handlers[fd]()
        if missing < 0:
            raise LoadError(f"{-missing} bytes too many")

    def _reading(self) -> list[Subscriber]:
        stalled = set(map(id, self._stalled))
        return [sub for sub in self._subscribers if id(sub) not in stalled]

    def _reap(self) -> int:
        """Forget readers that the server has closed; how many."""
        if not self._stream.closed:
            return 0
        gone = [sub for sub in self._reading() if sub.socket.fileno() == -1]
        left = set(map(id, self._subscribers)) - set(map(id, gone))
        self._subscribers = [sub for sub in self._subscribers if id(sub) in left]
        return len(gone)

    # Samples

    def _next_sample(self, deliveries: int) -> Subscriber | None:
        self._unsampled += deliveries
        if self._unsampled < _DELIVERIES_PER_SAMPLE:
            return None
        self._unsampled = 0
        readers = self._reading() if self._stalled else self._subscribers
        subscriber = readers[self._published % len(readers)]
        subscriber.sampled = bytearray()
        return subscriber

    def _check_sample(self, subscriber: Subscriber, count: int) -> None:
        data, subscriber.sampled = subscriber.sampled, None
        if subscriber.close_code is not None or data is None:
            return
        number = self._published - count
        for frame in parse_frames(data):
            self._check_number(frame.payload, number)
            number += 1
        if number != self._published:
            raise LoadError(f"{self._published - number} events are missing in a sample")
        self._decoded += count

    def _check_number(self, payload: bytes, expected: int) -> None:
        if (number := json_number(payload)) != expected:
            raise LoadError(f"got event {number}, expected {expected}")

    # Clients that do not read

    def stall(self, count: int) -> dict[str, Any]:
        """Let so many subscribers stop reading: every n-th, so that they are spread."""
        step = len(self._subscribers) // count
        self._stalled = self._subscribers[::step][:count]
        for subscriber in self._stalled:
            fd = subscriber.socket.fileno()
            self._poller.unregister(fd)
            del self._handlers[fd]
        return {"at": time.perf_counter(), "published": self._published}

    def overflow(self, stop_after: int) -> dict[str, Any]:
        """Publish one event at a time, and note what the stalled clients' systems hold.

        Ends when the server says that it hands out to the readers only, where it says so.

        Args:
            stop_after: publish no more than so many.
        """
        ports = [subscriber.socket.getsockname()[1] for subscriber in self._stalled]
        before = {port: sub.total for port, sub in zip(ports, self._stalled, strict=True)}
        receivers = len(self._reading())
        taken, clients = [], []
        assert self._publisher is not None
        for _ in range(stop_after):
            self._publish(1)
            self._collect(receivers * self._stream.frame_size)
            taken.append(bytes_taken(ports, before))
            clients.append(self._publisher.clients)
            if clients[-1] is not None and clients[-1] <= receivers:
                break
            if not taken[-1]:
                break
        return {
            "ports": ports,
            "frame_size": self._stream.frame_size,
            "first": self._published - len(taken),
            "taken": taken,
            "clients": clients,
        }

    def resume(self, seconds: float) -> dict[str, Any]:
        """Let the stalled clients read on until the server closes them, or time is up."""
        deadline = time.perf_counter() + seconds
        stalled, self._stalled = self._stalled, []
        poller = select.epoll()
        readers = {sub.socket.fileno(): sub for sub in stalled}
        for fd in readers:
            poller.register(fd, select.EPOLLIN)
        while (left := deadline - time.perf_counter()) > 0 and readers:
            for fd, _ in poller.poll(left):
                readers[fd].receive()
                if readers[fd].close_code is not None:
                    readers.pop(fd).give_up()
        poller.close()
        self._dismiss(stalled)
        return {
            "received": [sub.total // self._stream.frame_size for sub in stalled],
            "rest": [sub.total % self._stream.frame_size for sub in stalled],
            "close_codes": [sub.close_code for sub in stalled],
        }

    def _dismiss(self, subscribers: list[Subscriber]) -> None:
        """They take no further part; those that the server has not closed are closed here."""
        gone = set(map(id, subscribers))
        self._subscribers = [sub for sub in self._subscribers if id(sub) not in gone]
        for subscriber in subscribers:
            if subscriber.close_code is None:
                subscriber.socket.close()
        self._stream.closed = 0

    # Its own costs

    def _start_clock(self) -> None:
        gc.collect()
        gc.disable()
        self._cpu = time.process_time()

    def _used(self, begin: float, end: float) -> dict[str, Any]:
        gc.enable()
        return {"begin": begin, "end": end, "load_cpu": time.process_time() - self._cpu}


class _Tape:
    """What an open loop notes: when each event was due, and when it was received."""

    # A histogram with ten bins a decade, from 10 us on.
    _FIRST_BIN = 1e-5
    _BINS_PER_DECADE = 10

    def __init__(self, begin: float, interval: float, count: int, stream: Stream) -> None:
        self._begin = begin
        self._interval = interval
        self._done = 0
        self._stream = stream
        # Frames that every subscriber had received before the first event.
        self._base = stream.due // stream.frame_size
        self.last = array.array("d", bytes(8 * count))
        self.lateness = array.array("d")
        self.receipts = array.array("d")

    @property
    def is_over(self) -> bool:
        return self._done == len(self.last)

    @property
    def next_due(self) -> float:
        return self._begin + self._done * self._interval

    def timeout(self) -> float:
        if self.is_over:
            return 1.0
        left = self.next_due - time.perf_counter() - _SPIN_SECONDS
        return max(0.0, left // _SPIN_SECONDS * _SPIN_SECONDS)

    def published(self, late: float) -> None:
        self.lateness.append(late)
        self._done += 1

    def received(self, subscriber: Subscriber) -> int:
        """Note what this subscriber has received since the last time; how many events."""
        now = time.perf_counter()
        size = self._stream.frame_size
        end = subscriber.total // size - self._base
        start = subscriber.noted
        for index in range(start, end):
            latency = now - self._begin - index * self._interval
            self.receipts.append(latency)
            self.last[index] = latency
        subscriber.noted = end
        return end - start

    def summary(self, values: "array.array[float]") -> dict[str, float]:
        ranked = sorted(values)
        last = len(ranked) - 1
        points = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1}
        return {name: ranked[round(last * share)] for name, share in points.items()}

    def histogram(self) -> dict[str, int]:
        """How many receipts took up to so many seconds."""
        bins: dict[int, int] = {}
        for value in self.receipts:
            place = math.ceil(math.log10(value / self._FIRST_BIN) * self._BINS_PER_DECADE)
            bins[max(0, place)] = bins.get(max(0, place), 0) + 1
        edge = {place: self._FIRST_BIN * 10 ** (place / self._BINS_PER_DECADE) for place in bins}
        return {f"{edge[place]:.3g}": bins[place] for place in sorted(bins)}


_COMMANDS = (
    "closed_loop",
    "connect",
    "disconnect",
    "ingest",
    "open_loop",
    "overflow",
    "publisher",
    "resume",
    "stall",
)


def main() -> None:
    """Carry out commands from standard input until it ends."""
    load = Load()
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("do")
        try:
            if name not in _COMMANDS:
                raise LoadError(f"no such command: {name}")
            answer = {"ok": getattr(load, name)(**command)}
        except (LoadError, HandshakeError, OSError, ValueError, KeyError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
