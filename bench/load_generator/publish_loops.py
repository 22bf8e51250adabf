"""How events are published: in a closed loop, at a fixed rate, as fast as the server takes them.

Each loop reports the CPU time that the load generator took: if that is close to the time that
passed, the figures say something about the load generator and not about the server.
"""

import array
import gc
import time
from typing import Any

from bench.load_generator.client_group import Crowd, LoadError
from bench.load_generator.open_loop_record import Tape
from bench.load_generator.subscribers import PATIENCE_SECONDS
from bench.percentiles import percentiles

__all__ = ["closed_loop", "ingest", "open_loop", "pour"]


class _Clock:
    """Times and CPU time of a loop; there is no garbage collection while it runs."""

    def __init__(self) -> None:
        gc.collect()
        gc.disable()
        self._cpu = time.process_time()
        self.begin = time.perf_counter()

    def used(self, end: float) -> dict[str, float]:
        gc.enable()
        return {"begin": self.begin, "end": end, "load_cpu": time.process_time() - self._cpu}


def closed_loop(crowd: Crowd, seconds: float, in_flight: int) -> dict[str, Any]:
    """Publish `in_flight` events, wait until all readers have got them, and so on."""
    spans = array.array("d")
    # Those who were dropped between two commands count as well.
    closed = crowd.reap()
    if not (receivers := len(crowd.readers)):
        raise LoadError("all clients are gone")
    deliveries, decoded = 0, crowd.decoded
    clock = _Clock()
    now = clock.begin
    while now < clock.begin + seconds:
        sampled = crowd.next_sample(receivers * in_flight)
        started = time.perf_counter()
        crowd.publish(in_flight)
        crowd.collect(receivers * in_flight * crowd.stream.frame_size)
        now = time.perf_counter()
        spans.extend((started, now))
        if sampled is not None:
            crowd.check_sample(sampled, in_flight)
        gone = crowd.reap()
        closed += gone
        receivers -= gone
        deliveries += receivers * in_flight
        crowd.sip()
    return {
        **clock.used(now),
        "deliveries": deliveries,
        "receivers": receivers,
        "closed": closed,
        "decoded": crowd.decoded - decoded,
        "spans": spans.tolist(),
    }


def open_loop(crowd: Crowd, seconds: float, rate: float) -> dict[str, Any]:
    """Publish `rate` events a second, whatever has been received.

    Receipts are timed from the moment at which an event was due to be published. That moment is
    looked for after every single receipt, so that a burst of them does not delay an event.
    """
    crowd.reap()
    if not crowd.readers:
        raise LoadError("all clients are gone")
    sampled = crowd.sample()
    clock = _Clock()
    tape = Tape(clock.begin, 1 / rate, max(1, round(seconds * rate)), crowd.stream)
    readers = {sub.socket.fileno(): sub for sub in crowd.readers}
    for subscriber in readers.values():
        subscriber.noted = 0
    missing = len(readers) * len(tape.last)
    now = clock.begin
    while missing:
        now = _publish_due(crowd, tape, now)
        for fd, _ in crowd.poller.poll(tape.timeout()):
            crowd.handlers[fd]()
            now = time.perf_counter()
            if reader := readers.get(fd):
                missing -= tape.received(reader, now)
            now = _publish_due(crowd, tape, now)
        now = time.perf_counter()
        if now > clock.begin + seconds + PATIENCE_SECONDS:
            raise LoadError(f"{missing} deliveries are missing")
    crowd.check_sample(sampled, len(tape.last))
    return {
        **clock.used(now),
        "receipts": percentiles(tape.receipts),
        "last_receipts": percentiles(tape.last),
        "lateness": percentiles(tape.lateness),
        "histogram": tape.histogram(),
    }


def _publish_due(crowd: Crowd, tape: Tape, now: float) -> float:
    """Publish the next event if it is time for that; what time it is then."""
    if tape.is_over or now < tape.next_due:
        return now
    crowd.publish(1)
    done = time.perf_counter()
    # It is late until it is written.
    tape.published(done - tape.next_due)
    return done


def ingest(crowd: Crowd, seconds: float, in_flight: int) -> dict[str, Any]:
    """Publish as fast as the server takes it, `in_flight` events a write."""
    clock = _Clock()
    now = clock.begin
    count = 0
    while now < clock.begin + seconds:
        crowd.publish(in_flight)
        count += in_flight
        crowd.hear_answer()
        now = time.perf_counter()
    # What waits in sockets has not been taken yet.
    crowd.publisher.fence()
    crowd.hear_answer()
    return {**clock.used(time.perf_counter()), "events": count}


def pour(crowd: Crowd, count: int, in_flight: int) -> dict[str, Any]:
    """Likewise, so many events without a pause: in one stream, where there are streams."""
    clock = _Clock()
    for _ in range(0, count, in_flight):
        crowd.publish(in_flight)
        crowd.hear_answer()
    crowd.publisher.fence()
    crowd.hear_answer()
    return {**clock.used(time.perf_counter()), "events": count}
