"""The catalogue of HTTP error responses."""

import re
from http import HTTPStatus

import pytest

from ryze import errors
from ryze.errors import (
    INVALID_BODY,
    NOT_ENABLED,
    ApiError,
    ErrorKind,
)

CATALOGUE = [kind for kind in vars(errors).values() if isinstance(kind, ErrorKind)]


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.reason)
def test_reason_of_each_kind_is_a_snake_case_label(kind: ErrorKind) -> None:
    assert re.fullmatch("[a-z]+(_[a-z]+)*", kind.reason)
    assert 400 <= HTTPStatus(kind.status) < 600


def test_reasons_and_messages_are_unique() -> None:
    assert len({kind.reason for kind in CATALOGUE}) == len(CATALOGUE)
    assert len({kind.message for kind in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (400, "Bad request", "bad_request"),
        (404, "Not found", "not_found"),
        (405, "Method not allowed", "method_not_allowed"),
        (408, "Request timeout", "request_timeout"),
        (413, "Request body too large", "body_too_large"),
        (431, "Request header fields too large", "headers_too_large"),
        (500, "Internal server error", "internal_server_error"),
        (501, "Not implemented", "not_implemented"),
    ],
)
def test_every_status_has_a_kind(status: int, message: str, reason: str) -> None:
    assert ErrorKind.of_status(status) == ErrorKind(status, message, reason)


def test_detail_changes_the_message_and_not_the_reason() -> None:
    error = ApiError(INVALID_BODY, "line 3: no event", headers={"X": "y"})
    assert (error.status, error.message) == (400, "Invalid request body: line 3: no event")
    assert error.reason == INVALID_BODY.reason
    assert error.headers == {"X": "y"}
    assert str(error) == "400 Invalid request body: line 3: no event"


def test_instance_name_is_in_the_message_and_not_in_the_reason() -> None:
    kind = NOT_ENABLED.for_instance("shop")
    assert kind.message.endswith("POST /api/events/websocket/shop")
    assert kind.reason == "not_enabled"
