"""When is a slow client dropped, with how much pending, and when does it cost nothing any more?

For each slow client the bytes that the system had taken of the server say how many whole
messages had left it; the server says with which event it dropped the client. Between the two
lies what was pending.
"""

import time
from typing import Any

from bench.load_generator.process import subscribed
from bench.peers import PEERS, Peer
from bench.server_sampler import Look, Watch

__all__ = ["count_pending", "time_to_close"]

# How long a slow client that reads on may take to see the end of it.
_RESUME_SECONDS = 3.0
# How long a server may keep a dropped client's connection.
_CLOSE_SECONDS = 12.0
# Until what is over shows in the server's memory.
_SETTLE_SECONDS = 3.0
# What an allocator takes for good the first times is no leak.
_WARM_UP_WAVES = 5
# What is kept of each of these is one.
_COUNTED_WAVES = 5


def count_pending(
    peer: Peer, clients: int, slow: int, rate: float, event_bytes: int, most: int, port: int = 0
) -> dict[str, Any]:
    """At which event, and with how many pending, was each slow client dropped?

    Raises:
        Trouble: it cannot be measured.
    """
    fast = clients - slow
    with subscribed(_telling(peer), fast, event_bytes, port, more=slow) as (server, load):
        load.connect(slow, narrow=True)
        load.call("stall", count=slow, read_rate=rate)
        result = load.call("overflow", stop_after=most, patience=0)
        resumed = load.call("resume", seconds=_RESUME_SECONDS)
        drops = _drops(result, clients, server.drops())
    return {
        "slow": slow,
        "clients": [
            {
                "dropped_by": drop,
                "taken": taken,
                "pending": drop - 1 - taken if drop is not None and taken is not None else None,
                "received": received,
                "close_code": code,
            }
            for (drop, taken), received, code in zip(
                drops, resumed["received"], resumed["close_codes"], strict=True
            )
        ],
    }


def time_to_close(
    peer: Peer, clients: int, slow: int, rate: float, event_bytes: int, most: int, port: int = 0
) -> dict[str, Any]:
    """How long does the server keep a client that it has dropped, and that never reads on?

    ``closed_after`` is, for each of them, from when the event that dropped it was sent until the
    server's end of the connection is not established any more: by then the server has closed the
    socket. None: not within 12 s, or never dropped. ``memory_back_after`` is from the last of
    those events until half of what resident memory had risen by is gone; ``memory_kept`` is what
    is left of the rise of one wave of slow clients, a mean over some waves.

    Raises:
        Trouble: it cannot be measured.
    """
    fast = clients - slow
    with subscribed(_telling(peer), fast, event_bytes, port, more=slow) as (server, load):

        def wave(patience: float) -> dict[str, Any]:
            load.connect(slow, narrow=True)
            load.call("stall", count=slow, read_rate=rate)
            result = load.call("overflow", stop_after=most, patience=patience)
            load.call("dismiss")
            return result

        memory = []
        for waves in (_WARM_UP_WAVES, _COUNTED_WAVES):
            for _ in range(waves):
                wave(patience=0)
            time.sleep(_SETTLE_SECONDS)
            memory.append(server.memory())
        with Watch(server) as watch:
            result = wave(patience=_CLOSE_SECONDS)
        drops = _drops(result, clients, server.drops())
    sent = [_sent(result, event) for event, _ in drops]
    return {
        "closed_after": [
            closed - at if closed is not None and at is not None else None
            for closed, at in zip(result["closed_at"], sent, strict=True)
        ],
        "memory_kept": (memory[1] - memory[0]) / _COUNTED_WAVES,
        **_memory(memory[1], watch.looks, max((at for at in sent if at is not None), default=None)),
    }


def _memory(base: int, looks: list[Look], dropped_at: float | None) -> dict[str, float | None]:
    peak = max((look.memory for look in looks), default=base)
    back = [
        look.at - dropped_at
        for look in looks
        if dropped_at is not None
        and look.at >= dropped_at
        and look.memory - base <= (peak - base) / 2
    ]
    return {
        "memory_peak": peak - base,
        "memory_back_after": back[0] if back else None,
    }


def _telling(peer: Peer) -> Peer:
    # Our server says in its HTTP answer to how many it has handed out; the others' programs
    # write a line.
    return PEERS["ryze-http"] if peer.name == "ryze" else peer


def _sent(result: dict[str, Any], event: int | None) -> float | None:
    """When an event was sent; the first one of the server is 1."""
    index = -1 if event is None else event - 1 - result["first"]
    return float(result["at"][index]) if 0 <= index < len(result["at"]) else None


# For each slow client: the event that dropped it (the first one is 1), and how many whole
# messages its system had taken by then.
Drops = list[tuple[int | None, int | None]]


def _drops(result: dict[str, Any], clients: int, lines: dict[int, int]) -> Drops:
    return _drops_by_answers(result, clients) or _drops_by_lines(result, lines)


def _drops_by_answers(result: dict[str, Any], clients: int) -> Drops | None:
    """From how many clients each event was handed to, in the order in which they overflow.

    The answers do not say who was dropped. But the system has taken all that it takes long
    before, and so who had the fewest taken was dropped first.
    """
    answers = [clients, *result["clients"]]
    if answers[-1] is None:
        return None
    events: list[int | None] = []
    for place in range(1, len(answers)):
        events += [result["first"] + place] * (answers[place - 1] - answers[place])
    taken = [_taken_whole(result, port) for port in result["ports"]]
    order = sorted(range(len(taken)), key=lambda place: taken[place] or 0)
    events += [None] * (len(taken) - len(events))
    drops: Drops = [(None, None)] * len(taken)
    for place, event in zip(order, events, strict=False):
        drops[place] = event, taken[place]
    return drops


def _drops_by_lines(result: dict[str, Any], lines: dict[int, int]) -> Drops:
    """From what the program has written."""
    drops: Drops = []
    for port in result["ports"]:
        event = lines.get(port)
        index = None if event is None else event - result["first"] - 2
        drops.append((event, _taken_whole(result, port, index)))
    return drops


def _taken_whole(result: dict[str, Any], port: int, index: int | None = None) -> int | None:
    """Whole messages that the system had taken after that event, or after the last one known."""
    known = [taken[str(port)] for taken in result["taken"] if str(port) in taken]
    if not known:
        return None
    if index is not None and 0 <= index < len(known):
        return int(known[index] // result["frame_size"])
    return int(known[-1] // result["frame_size"])
