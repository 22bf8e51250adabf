"""The two WebSocket addresses: what an upgrade answers (contract, sections 4 and 6).

They are no routes of the HTTP application: the gateway has them. `openapi` describes their
upgrade, `asyncapi` what follows it.
"""

from ryze.api.openapi.close_codes import as_table
from ryze.api.openapi.operations import Answer, Route
from ryze.errors import INVALID_HANDSHAKE, NOT_ENABLED, ORIGIN_NOT_ALLOWED, UPGRADE_REQUIRED

__all__ = ["PUBLISHER", "SOCKETS", "SUBSCRIBER"]

SUBSCRIBER = "/ws/{instance}"
PUBLISHER = "/ws/{instance}/publish"

_ERRORS = (INVALID_HANDSHAKE, ORIGIN_NOT_ALLOWED, UPGRADE_REQUIRED)
_UPGRADED = {101: Answer("The connection is a WebSocket now.", None)}
_NOT_FROM_HERE = (
    "This page cannot open a WebSocket: here the answer is a 426. Messages and close codes stand "
    "in [asyncapi.json](asyncapi.json) too."
)

#: By address; all are GET, and take either token, also as `?token=`.
SOCKETS = {
    SUBSCRIBER: Route(
        "WebSocket",
        _UPGRADED,
        errors=(*_ERRORS, NOT_ENABLED.for_instance("demo")),
        description="Each event comes as one JSON document in one text frame: "
        '`{"event": ..., "data": ..., "instanceData": {...}}`. What the client sends is read '
        "and ignored. The server pings; a client that is silent for too long, or has too much "
        f"waiting for it, is dropped.\n\n{as_table()}\n\n{_NOT_FROM_HERE}",
    ),
    PUBLISHER: Route(
        "Publish",
        _UPGRADED,
        errors=_ERRORS,
        description='Each text frame is one event, `{"event": ..., "data": {...}}`; nothing '
        "comes back. A frame that is none ends the connection with 1008 and a reason that names "
        f"it; what came before it stands.\n\n{_NOT_FROM_HERE}",
    ),
}
