"""Caps: how many connections may be open at the same time."""

from dataclasses import dataclass

__all__ = ["ConnectionCaps"]


@dataclass(frozen=True, slots=True)
class ConnectionCaps:
    """Maximum numbers of open connections; 0 is no cap.

    Args:
        http: HTTP connections.
        websockets: WebSockets, subscribers and producers together.
        websockets_per_instance: likewise, of one instance.
    """

    http: int = 0
    websockets: int = 0
    websockets_per_instance: int = 0

    def has_http_room(self, connections: int) -> bool:
        """May one more HTTP connection be opened beside so many?"""
        return _has_room(connections, self.http)

    def has_websocket_room(self, connections: int, of_instance: int) -> bool:
        """May one more WebSocket be opened beside so many, of which some are of its instance?"""
        return _has_room(connections, self.websockets) and _has_room(
            of_instance, self.websockets_per_instance
        )


def _has_room(count: int, cap: int) -> bool:
    return cap == 0 or count < cap
