"""Notifications to a service manager: systemd's protocol for ``Type=notify``.

One datagram per state change, to the socket that the variable NOTIFY_SOCKET names (sd_notify(3)).
The packages for this are unmaintained or need systemd's headers; the protocol is a few lines.
"""

import socket

import structlog

__all__ = ["READY", "STOPPING", "Notifier"]

# The server accepts connections; systemd starts the units ordered after it.
READY = "READY=1"
# The shutdown has begun.
STOPPING = "STOPPING=1"

_log = structlog.get_logger("ryze")


class Notifier:
    """Sends state changes to the service manager; does nothing without a socket address.

    Args:
        address: the value of NOTIFY_SOCKET: a path, or ``@`` and a name in the abstract
            namespace of Linux; empty = no service manager.
    """

    def __init__(self, address: str = "") -> None:
        self._address = address

    def notify(self, state: str) -> None:
        """Send `state`, without blocking; a failure is logged and not raised."""
        if not self._address:
            return
        # Addresses of the abstract namespace begin with NUL, which a variable cannot contain.
        is_abstract = self._address.startswith("@")
        address = "\0" + self._address[1:] if is_abstract else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(state.encode(), address)
        except OSError as error:
            _log.warning("service manager not notified", state=state, reason=str(error))
