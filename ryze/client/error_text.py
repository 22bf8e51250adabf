"""What others say and what went wrong on the way, in one line for people.

The words of a server are shown on a terminal, so none of them is trusted: see `one_line`.
"""

import http.client
import os

import msgspec

from ryze.client.server_address import Server
from ryze.exception_groups import first_leaf

__all__ = ["NOT_JSON", "cannot_reach", "message_of", "one_line", "phrase"]

# What msgspec raises for bytes that are not the JSON we want.
NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Fault(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Fault


def message_of(status: int, body: bytes) -> str:
    """What our error envelope says; of other servers, the name of the status."""
    try:
        message = msgspec.json.decode(body, type=_Refusal).error.message
    except NOT_JSON:
        return phrase(status)
    return one_line(message) or phrase(status)


def phrase(status: int) -> str:
    """The name of an HTTP status; empty if it has none."""
    return http.client.responses.get(status, "")


def cannot_reach(server: Server, error: BaseException) -> str:
    """That there is no way to a server, and why."""
    return f"cannot reach {server}: {one_line(_reason(first_leaf(error)))}"


def _reason(error: BaseException) -> str:
    # Trio writes the address into `strerror`, which we have said already.
    if isinstance(error, ConnectionError | TimeoutError) and error.errno:
        return os.strerror(error.errno)
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__


def one_line(text: str) -> str:
    """What others say is shown on a terminal: no line breaks, no escape sequences, no novel."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:300].strip()
