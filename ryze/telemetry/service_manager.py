"""Telling a service manager how we are: systemd's protocol for ``Type=notify``.

One datagram for each change, to the socket that the variable NOTIFY_SOCKET names (sd_notify(3)).
The packages for this are no longer kept up or need systemd's headers; the protocol is the five
lines below.
"""

import socket

import structlog

__all__ = ["READY", "STOPPING", "Notifier"]

# It serves; what was started "after" it may start.
READY = "READY=1"
# It has begun to shut down.
STOPPING = "STOPPING=1"

_log = structlog.get_logger("ryze")


class Notifier:
    """Sends what there is to tell; to nobody where no socket is given.

    Args:
        address: the value of NOTIFY_SOCKET: a path, or ``@`` and a name in the abstract
            namespace of Linux; empty = nobody wants to know.
    """

    def __init__(self, address: str = "") -> None:
        self._address = address

    def tell(self, state: str) -> None:
        """Send `state`; whoever does not listen misses it, and that stops nothing."""
        if not self._address:
            return
        # A NUL byte is what the abstract namespace begins with; the variable cannot hold one.
        is_abstract = self._address.startswith("@")
        address = "\0" + self._address[1:] if is_abstract else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(state.encode(), address)
        except OSError as error:
            _log.warning("cannot tell the service manager", state=state, reason=str(error))
