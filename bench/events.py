"""The events that every server under test carries, and how a receipt is checked.

All events of a run have the same length, so that the load generator knows to the byte what
must come, and each has a number, so that order and completeness can be checked. A template is
an event with ``%010d`` in place of its number.
"""

import json

__all__ = [
    "INSTANCE",
    "INSTANCE_DATA",
    "SMALLEST_EVENT",
    "event_template",
    "json_number",
    "relayed_template",
]

INSTANCE = "bench"

# What our server adds to every event. The peers add nothing, so they are handed the whole
# envelope: the same bytes reach the subscribers of all servers.
INSTANCE_DATA = {
    "baseUrl": "https://gateway.example",
    "instance": INSTANCE,
    "token": "bench-token-of-the-one-instance-0123456789",
}

_HEAD = '{"event":"message.exchange","data":{"id":"%010d","text":"'
_TAIL = '"}'

# The number takes ten bytes where its place-holder takes five.
_UNPADDED = len(_HEAD) + 5 + len(_TAIL)

# Bytes of an event without padding, as `event_template` counts them.
SMALLEST_EVENT = _UNPADDED + len("}")


def event_template(size: int) -> bytes:
    """An event of `size` bytes, at least `SMALLEST_EVENT`, as a producer hands it to our server."""
    return _padded(size, "}")


def relayed_template(size: int) -> bytes:
    """The same event inside the envelope that our server would put around it."""
    instance_data = json.dumps(INSTANCE_DATA, separators=(",", ":"))
    extra = f',"instanceData":{instance_data}}}'
    return _padded(size - 1 + len(extra), extra)


def json_number(payload: bytes) -> int:
    """The number of a received event.

    Raises:
        ValueError: it is none of ours.
    """
    document = json.loads(payload)
    match document:
        case {"event": "message.exchange", "data": {"id": str(number)}, "instanceData": instance}:
            if instance == INSTANCE_DATA and list(document) == ["event", "data", "instanceData"]:
                return int(number)
    raise ValueError(f"not an event of ours: {payload!r}")


def _padded(size: int, end: str) -> bytes:
    return (_HEAD + "x" * (size - _UNPADDED - len(end)) + _TAIL + end).encode()
