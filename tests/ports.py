"""Ports for servers that must know their port before they listen."""

import os
import socket
from contextlib import suppress

# Below the ephemeral ports (from 32768 on Linux): a port that a connection had a moment ago cannot
# be listened on. Each worker of pytest-xdist has a thousand of its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST = 20_000 + 1_000 * (_WORKER % 12)
_candidates = iter(range(_FIRST, _FIRST + 1_000))


def free_ports(count: int) -> list[int]:
    """Find consecutive free ports; none is returned twice."""
    found: list[int] = []
    for port in _candidates:
        found = [*found, port] if _is_free(port) else []
        if len(found) == count:
            return found
    raise RuntimeError("all ports of this pytest-xdist worker are used up")


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("", port)):
        return True
    return False
