"""Publish loops: closed loop, open loop at a fixed rate, and ingest as fast as the server reads.

Each loop returns the CPU time of the load generator. If it is close to the elapsed time, the
load generator was the limit, and not the server.
"""

import array
import gc
import time
from typing import Any

from bench.errors import DeliveryError
from bench.load_generator.client_group import ClientGroup
from bench.load_generator.open_loop_record import OpenLoopRecord
from bench.load_generator.subscribers import TIMEOUT_SECONDS
from bench.percentiles import percentiles

__all__ = ["closed_loop", "ingest_count", "ingest_for", "open_loop"]


class _Stopwatch:
    """Elapsed time and CPU time of a loop; disables garbage collection while it runs."""

    def __init__(self) -> None:
        gc.collect()
        gc.disable()
        self._cpu = time.process_time()
        self.begin = time.perf_counter()

    def stop(self, end: float) -> dict[str, float]:
        gc.enable()
        return {"begin": self.begin, "end": end, "load_cpu": time.process_time() - self._cpu}


def closed_loop(clients: ClientGroup, seconds: float, in_flight: int) -> dict[str, Any]:
    """Publish `in_flight` events, wait until all fast subscribers have them, and repeat.

    Returns:
        Besides times: "deliveries"; "receivers" at the end; "closed", subscribers that the
        server closed; "decoded", events decoded in inspections; "batch_times", the begin and
        end of each batch, in one flat list.
    """
    batch_times = array.array("d")
    # Connections closed between two commands count as well.
    closed = clients.remove_closed()
    receivers = _count_receivers(clients)
    deliveries, decoded = 0, clients.decoded
    watch = _Stopwatch()
    now = watch.begin
    while now < watch.begin + seconds:
        inspected = clients.start_due_inspection(receivers * in_flight)
        started = time.perf_counter()
        clients.publish(in_flight)
        clients.wait_received(receivers * in_flight * clients.expected.frame_size)
        now = time.perf_counter()
        batch_times.extend((started, now))
        if inspected is not None:
            clients.finish_inspection(inspected, in_flight)
        removed = clients.remove_closed()
        closed += removed
        receivers -= removed
        deliveries += receivers * in_flight
        clients.read_slowly()
    return {
        **watch.stop(now),
        "deliveries": deliveries,
        "receivers": receivers,
        "closed": closed,
        "decoded": clients.decoded - decoded,
        "batch_times": batch_times.tolist(),
    }


def open_loop(clients: ClientGroup, seconds: float, rate: float) -> dict[str, Any]:
    """Publish `rate` events per second, whatever has been received.

    Receipts are timed from the moment at which an event was due. The schedule is checked after
    every single receipt, so that a burst of receipts does not delay an event.

    Returns:
        Besides times: the percentiles "receipts", "last_receipts" and "lateness" in seconds, and
        the "histogram" of receipts; see `OpenLoopRecord`.
    """
    clients.remove_closed()
    missing = _count_receivers(clients)
    inspected = clients.start_inspection()
    watch = _Stopwatch()
    count = max(1, round(seconds * rate))
    record = OpenLoopRecord(watch.begin, 1 / rate, count, clients.expected)
    subscribers = {sub.socket.fileno(): sub for sub in clients.fast}
    for subscriber in subscribers.values():
        subscriber.recorded = 0
    missing *= count
    now = watch.begin
    while missing:
        now = _publish_due(clients, record, now)
        for fd, _ in clients.poller.poll(record.poll_seconds()):
            clients.handlers[fd]()
            now = time.perf_counter()
            if reader := subscribers.get(fd):
                missing -= record.add_received(reader, now)
            now = _publish_due(clients, record, now)
        now = time.perf_counter()
        if now > watch.begin + seconds + TIMEOUT_SECONDS:
            raise DeliveryError(f"{missing} deliveries are missing")
    clients.finish_inspection(inspected, count)
    return {
        **watch.stop(now),
        "receipts": percentiles(record.receipts),
        "last_receipts": percentiles(record.last),
        "lateness": percentiles(record.lateness),
        "histogram": record.histogram(),
    }


def _count_receivers(clients: ClientGroup) -> int:
    if not clients.fast:
        raise DeliveryError("the server has closed all subscribers")
    return len(clients.fast)


def _publish_due(clients: ClientGroup, record: OpenLoopRecord, now: float) -> float:
    """Publish the next event if it is due; return the time after that."""
    if record.is_complete or now < record.next_due:
        return now
    clients.publish(1)
    done = time.perf_counter()
    # The lateness includes the write.
    record.add_published(done - record.next_due)
    return done


def ingest_for(clients: ClientGroup, seconds: float, batch: int) -> dict[str, Any]:
    """Publish for that long, as fast as the server reads, `batch` events per write."""
    watch = _Stopwatch()
    now = watch.begin
    count = 0
    while now < watch.begin + seconds:
        clients.publish(batch)
        count += batch
        clients.wait_acknowledged()
        now = time.perf_counter()
    return _finish_ingest(clients, watch, count)


def ingest_count(clients: ClientGroup, count: int, batch: int) -> dict[str, Any]:
    """Publish that many events, as fast as the server reads; a stream takes them all in one."""
    watch = _Stopwatch()
    for _ in range(0, count, batch):
        clients.publish(batch)
        clients.wait_acknowledged()
    return _finish_ingest(clients, watch, count)


def _finish_ingest(clients: ClientGroup, watch: _Stopwatch, count: int) -> dict[str, Any]:
    # Events in socket buffers have not been accepted yet.
    clients.producer.request_ack()
    clients.wait_acknowledged()
    return {**watch.stop(time.perf_counter()), "events": count}
