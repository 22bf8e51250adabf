"""The upgrades of the two WebSocket addresses (contract, sections 4 and 6).

They are not routes of the HTTP application. `document` describes their upgrade, `asyncapi` the
messages that follow.
"""

from ryze.api.openapi.close_codes import as_table
from ryze.api.openapi.operations import Operation, ResponseContent
from ryze.errors import INVALID_HANDSHAKE, NOT_ENABLED, ORIGIN_NOT_ALLOWED, UPGRADE_REQUIRED

__all__ = ["PRODUCER", "SUBSCRIBER", "UPGRADES"]

SUBSCRIBER = "/ws/{instance}"
PRODUCER = "/ws/{instance}/publish"

_ERRORS = (INVALID_HANDSHAKE, ORIGIN_NOT_ALLOWED, UPGRADE_REQUIRED)
_UPGRADED = {101: ResponseContent("The connection is a WebSocket now.", None)}
_NOT_FROM_HERE = (
    "This page cannot open a WebSocket: here the response is a 426. Messages and close codes are "
    "described in [asyncapi.json](asyncapi.json) too."
)

#: By address; all are GET, and accept either token, also as `?token=`.
UPGRADES = {
    SUBSCRIBER: Operation(
        "WebSocket",
        _UPGRADED,
        errors=(*_ERRORS, NOT_ENABLED.for_instance("demo")),
        description="Each event is one JSON document in one text frame: "
        '`{"event": ..., "data": ..., "instanceData": {...}}`. Frames from the subscriber are '
        "read and ignored. The server pings; a subscriber that is silent for too long, or has too "
        f"many events pending, is disconnected.\n\n{as_table()}\n\n{_NOT_FROM_HERE}",
    ),
    PRODUCER: Operation(
        "Publish",
        _UPGRADED,
        errors=_ERRORS,
        description='Each text frame is one event, `{"event": ..., "data": {...}}`; nothing is '
        "sent back. An invalid frame ends the connection with 1008 and a reason that names the "
        f"frame; the events before it stay published.\n\n{_NOT_FROM_HERE}",
    ),
}
