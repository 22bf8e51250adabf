"""Eviction of slow clients: pending messages at that moment, and the time until all is released.

The messages that the operating system had taken from the server tell how many had left it, per
slow client. The server tells with which event it evicted the client. The difference was pending.
"""

import time
from typing import Any, NamedTuple

from bench.load_generator.process import LoadGenerator, open_server_with_load
from bench.peers import PEERS, RYZE, Peer
from bench.server_sampler import Sample, ServerSampler

__all__ = ["EvictionOptions", "count_pending", "time_release"]

# An evicted client that reads on should see the end of its stream within this time.
_RESUME_SECONDS = 3.0
# A server should have closed an evicted client's connection within this time.
_CLOSE_SECONDS = 12.0
# Memory of closed connections should be released within this time.
_SETTLE_SECONDS = 3.0
# Memory that an allocator keeps of the first waves of slow clients is not a leak.
_WARM_UP_WAVES = 5
# Memory that is kept of each of these waves is a leak.
_COUNTED_WAVES = 5


class EvictionOptions(NamedTuple):
    """Parameters of both measurements."""

    # Subscribers, the slow ones among them.
    clients: int
    slow: int
    # Bytes per second that a slow client reads.
    read_rate: float
    event_bytes: int
    # Give up after that many events.
    max_events: int
    port: int = 0


class Eviction(NamedTuple):
    """Eviction of one slow client; None where it is not known."""

    # Number of the event that overflowed its queue; a server's first event is 1.
    event: int | None
    # Complete messages that the system had taken by then.
    taken: int | None


def count_pending(peer: Peer, given: EvictionOptions) -> dict[str, Any]:
    """Count the messages that were pending for each slow client when it was evicted.

    Raises:
        MeasurementError: it cannot be measured.
    """
    fast = given.clients - given.slow
    with open_server_with_load(
        _reporting(peer), fast, given.event_bytes, given.port, spare=given.slow
    ) as (server, load):
        result = _overflow(load, given, close_seconds=0)
        resumed = load.call("resume_reading", seconds=_RESUME_SECONDS)
        evictions = _find_evictions(result, given.clients, server.evictions())
    return {
        "slow": given.slow,
        "clients": [
            {
                "dropped_by": event,
                "taken": taken,
                "pending": event - 1 - taken if event is not None and taken is not None else None,
                "received": received,
                "close_code": code,
            }
            for (event, taken), received, code in zip(
                evictions, resumed["received"], resumed["close_codes"], strict=True
            )
        ],
    }


def time_release(peer: Peer, given: EvictionOptions) -> dict[str, Any]:
    """Time how long a server keeps the sockets and memory of evicted clients that never read on.

    Returns:
        "closed_after": per slow client, seconds from sending the event that evicted it until the
        server's end of the connection is not established any more, by when the server has closed
        the socket; None if not within 12 s, or never evicted.
        "memory_peak": growth of resident memory with one wave of slow clients.
        "memory_back_after": seconds from the last of those events until half of that is released.
        "memory_kept": growth per wave of slow clients, averaged over some waves.

    Raises:
        MeasurementError: it cannot be measured.
    """
    fast = given.clients - given.slow
    with open_server_with_load(
        _reporting(peer), fast, given.event_bytes, given.port, spare=given.slow
    ) as (server, load):
        memory = []
        for waves in (_WARM_UP_WAVES, _COUNTED_WAVES):
            for _ in range(waves):
                _run_wave(load, given, close_seconds=0)
            time.sleep(_SETTLE_SECONDS)
            memory.append(server.resident_bytes())
        with ServerSampler(server) as sampler:
            result = _run_wave(load, given, close_seconds=_CLOSE_SECONDS)
        evictions = _find_evictions(result, given.clients, server.evictions())
    sent = [_sent_at(result, each.event) for each in evictions]
    last_sent = max((at for at in sent if at is not None), default=None)
    return {
        "closed_after": [
            closed - at if closed is not None and at is not None else None
            for closed, at in zip(result["closed_at"], sent, strict=True)
        ],
        "memory_kept": (memory[1] - memory[0]) / _COUNTED_WAVES,
        **_time_memory(memory[1], sampler.samples, last_sent),
    }


def _run_wave(load: LoadGenerator, given: EvictionOptions, close_seconds: float) -> dict[str, Any]:
    result = _overflow(load, given, close_seconds)
    load.call("close_stalled")
    return result


def _overflow(load: LoadGenerator, given: EvictionOptions, close_seconds: float) -> dict[str, Any]:
    load.connect(given.slow, has_small_windows=True)
    load.call("stall", count=given.slow, read_rate=given.read_rate)
    return load.call("overflow", max_events=given.max_events, close_seconds=close_seconds)


def _time_memory(
    base: int, samples: list[Sample], evicted_at: float | None
) -> dict[str, float | None]:
    peak = max((sample.memory for sample in samples), default=base)
    released = [
        sample.at - evicted_at
        for sample in samples
        if evicted_at is not None
        and sample.at >= evicted_at
        and sample.memory - base <= (peak - base) / 2
    ]
    return {
        "memory_peak": peak - base,
        "memory_back_after": released[0] if released else None,
    }


def _reporting(peer: Peer) -> Peer:
    # Ryze reports in its HTTP response how many subscribers an event reached; the peers'
    # programs print their evictions.
    return PEERS["ryze-http"] if peer.name == RYZE else peer


def _sent_at(result: dict[str, Any], event: int | None) -> float | None:
    index = -1 if event is None else event - 1 - result["first"]
    return float(result["at"][index]) if 0 <= index < len(result["at"]) else None


def _find_evictions(
    result: dict[str, Any], clients: int, printed: dict[int, int]
) -> list[Eviction]:
    return _evictions_by_responses(result, clients) or _evictions_by_output(result, printed)


def _evictions_by_responses(result: dict[str, Any], clients: int) -> list[Eviction] | None:
    """Find the evictions by the number of subscribers that each event reached.

    The responses do not tell which client was evicted. But the system took what it could long
    before, so those of whom it had taken least overflowed first.
    """
    reached = [clients, *result["clients"]]
    if reached[-1] is None:
        return None
    events: list[int | None] = []
    for place in range(1, len(reached)):
        events += [result["first"] + place] * (reached[place - 1] - reached[place])
    taken = [_messages_taken(result, port) for port in result["ports"]]
    order = sorted(range(len(taken)), key=lambda place: taken[place] or 0)
    events += [None] * (len(taken) - len(events))
    evictions = [Eviction(None, None)] * len(taken)
    for place, event in zip(order, events, strict=False):
        evictions[place] = Eviction(event, taken[place])
    return evictions


def _evictions_by_output(result: dict[str, Any], printed: dict[int, int]) -> list[Eviction]:
    """Find the evictions by what the server has printed: port -> event."""
    evictions = []
    for port in result["ports"]:
        event = printed.get(port)
        # The system's state before the event that overflowed is the one after its predecessor.
        index = None if event is None else event - result["first"] - 2
        evictions.append(Eviction(event, _messages_taken(result, port, index)))
    return evictions


def _messages_taken(result: dict[str, Any], port: int, index: int | None = None) -> int | None:
    """Return the complete messages taken after the event at `index`, or else the last known."""
    known = [taken[str(port)] for taken in result["taken"] if str(port) in taken]
    if not known:
        return None
    if index is not None and 0 <= index < len(known):
        return int(known[index] // result["frame_size"])
    return int(known[-1] // result["frame_size"])
