"""Decode complete bodies and lines of producers into events, as errors of the API if invalid.

A large one is decoded in a thread, so that it does not hold up all connections.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio

from ryze.errors import INVALID_BODY, ApiError, InvalidEvent
from ryze.events.decoding import decode_event, decode_events
from ryze.events.event import Event
from ryze.ingest.form import decode_form
from ryze.ingest.ndjson_lines import Line

__all__ = ["decode_form_body", "decode_json_body", "decode_line", "invalid_body"]

_T = TypeVar("_T")

# From this size on, decoding uses a thread: about two milliseconds' worth of small events.
_LARGE_BYTES = 256 * 1024

# The longest reason in an error message, because reasons quote the producer's input.
_MAX_REASON_CHARACTERS = 200


async def decode_json_body(body: bytes) -> list[Event]:
    """Decode one event, or a JSON array of events.

    Raises:
        ApiError: 400, without a reason (contract, section 6).
    """
    try:
        return await _decode(body, decode_events)
    except InvalidEvent as error:
        raise ApiError(INVALID_BODY) from error


async def decode_form_body(body: bytes, boundary: str) -> Event:
    """Decode a form with one event and its media file.

    Args:
        body: the whole form.
        boundary: from the ``Content-Type``.

    Raises:
        ApiError: 400, with the reason.
    """
    try:
        return await _decode(body, partial(decode_form, boundary=boundary))
    except InvalidEvent as error:
        raise invalid_body(str(error)) from error


async def decode_line(line: Line) -> Event:
    """Decode the event of one line.

    Raises:
        ApiError: 400, with the line's number and the reason.
    """
    try:
        return await _decode(line.text, decode_event)
    except InvalidEvent as error:
        raise invalid_body(f"line {line.number}: {error}") from error


def invalid_body(reason: str) -> ApiError:
    """Make the error for an invalid body, its reason cut to a readable length."""
    return ApiError(INVALID_BODY, detail=reason[:_MAX_REASON_CHARACTERS])


async def _decode(body: bytes, decode: Callable[[bytes], _T]) -> _T:
    if len(body) > _LARGE_BYTES:
        return await trio.to_thread.run_sync(decode, body)
    return decode(body)
