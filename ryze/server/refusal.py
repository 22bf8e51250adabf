"""Refusals of connections and upgrade requests: an HTTP error response, then the end."""

from contextlib import suppress

import trio

from ryze.errors import ApiError, error_body
from ryze.http_head import response_head
from ryze.hub.transport import Transport

__all__ = ["refusal_response", "send_refusal"]


def refusal_response(refusal: ApiError) -> bytes:
    """Encode the whole response; the connection ends with it."""
    body = error_body(refusal.message)
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close" if refusal.status != 426 else "Upgrade, close",
    }
    return response_head(refusal.status, {**headers, **refusal.headers}) + body


async def send_refusal(transport: Transport, refusal: ApiError, grace_seconds: float) -> None:
    """Send an error response and close the transport once the peer has closed its end.

    A lost connection is ignored. Cancelling it closes the transport at once.

    Args:
        transport: to the peer; closed in any case.
        refusal: the error.
        grace_seconds: after this long the transport is closed, whatever the peer has read.
    """
    pending = memoryview(refusal_response(refusal))
    try:
        with trio.move_on_after(grace_seconds), suppress(OSError):
            while (taken := transport.send_nowait(pending)) < len(pending):
                pending = pending[taken:]
                await transport.wait_writable()
            # Closing with bytes unread would reset the connection, and lose the response.
            transport.send_eof()
            while await transport.receive_some():
                pass
    finally:
        transport.close()
