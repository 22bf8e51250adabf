"""Events that the bench publishes, and the check of a received one.

All events of a run have the same length, so that the load generator knows how many bytes must
arrive. Each has a number, so that order and completeness can be checked. A template is an event
with ``%010d`` in place of its number.
"""

import json

__all__ = [
    "INSTANCE",
    "INSTANCE_DATA",
    "MIN_EVENT_BYTES",
    "event_template",
    "parse_event_number",
    "relayed_template",
]

INSTANCE = "bench"

# Ryze adds this to every event. The peers add nothing, so they get the whole envelope as input:
# the same bytes reach the subscribers of all servers.
INSTANCE_DATA = {
    "baseUrl": "https://gateway.example",
    "instance": INSTANCE,
    "token": "bench-token-of-the-one-instance-0123456789",
}

_HEAD = '{"event":"message.exchange","data":{"id":"%010d","text":"'
_TAIL = '"}'

# The number takes ten bytes where its placeholder takes five.
_UNPADDED = len(_HEAD) + 5 + len(_TAIL)

# Bytes of an event without padding, as `event_template` counts them.
MIN_EVENT_BYTES = _UNPADDED + len("}")


def event_template(size: int) -> bytes:
    """Return an event of `size` bytes (at least `MIN_EVENT_BYTES`), as Ryze gets it."""
    return _pad(size, "}")


def relayed_template(size: int) -> bytes:
    """Return the same event inside the envelope that Ryze puts around it."""
    instance_data = json.dumps(INSTANCE_DATA, separators=(",", ":"))
    extra = f',"instanceData":{instance_data}}}'
    return _pad(size - 1 + len(extra), extra)


def parse_event_number(payload: bytes) -> int:
    """Return the number of a received event.

    Raises:
        ValueError: the payload is not an event of the bench in its envelope.
    """
    document = json.loads(payload)
    match document:
        case {"event": "message.exchange", "data": {"id": str(number)}, "instanceData": instance}:
            if instance == INSTANCE_DATA and list(document) == ["event", "data", "instanceData"]:
                return int(number)
    raise ValueError(f"not an event of the bench: {payload!r}")


def _pad(size: int, end: str) -> bytes:
    return (_HEAD + "x" * (size - _UNPADDED - len(end)) + _TAIL + end).encode()
