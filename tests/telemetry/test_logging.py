"""Logging: one format for structlog and logging, with tokens masked."""

import errno
import io
import json
import logging
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ryze.masking import mask_query
from ryze.telemetry.logging import configure_logging

pytestmark = pytest.mark.usefixtures("restore_logging")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_structlog_and_logging_write_the_same_fields() -> None:
    stream = io.StringIO()
    configure_logging("info", "auto", stream)
    structlog.get_logger("ours").info("hello", port=8080)
    logging.getLogger("theirs").info("hello %s", "you")
    ours, theirs = lines(stream)
    assert ours.keys() - {"port"} == theirs.keys() == {"event", "level", "logger", "timestamp"}
    assert (ours["event"], ours["port"], ours["logger"]) == ("hello", 8080, "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("hello you", "info", "theirs")
    assert ours["timestamp"].endswith("Z")


def test_structlog_renders_positional_arguments_and_context() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    with structlog.contextvars.bound_contextvars(connection=7):
        structlog.get_logger().info("hello %s", "you")
    [line] = lines(stream)
    assert (line["event"], line["connection"]) == ("hello you", 7)


def test_level_applies_to_structlog_and_logging() -> None:
    stream = io.StringIO()
    configure_logging("warning", "json", stream)
    structlog.get_logger("ours").info("no")
    logging.getLogger("theirs").info("no")
    structlog.get_logger("ours").warning("yes")
    logging.getLogger("theirs").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes", "yes"]


def test_last_configuration_applies() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging("info", "json", first)
    logger = structlog.get_logger("ours")
    logger.info("one")
    configure_logging("info", "json", second)
    logger.info("two")
    assert [line["event"] for line in lines(first)] == ["one"]
    assert [line["event"] for line in lines(second)] == ["two"]


def test_default_stream_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    structlog.get_logger().info("hello")
    assert '"hello"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("format", "stream", "is_json", "is_colored"),
    [
        ("auto", io.StringIO, True, False),
        ("auto", Terminal, False, True),
        ("json", Terminal, True, False),
        ("console", io.StringIO, False, False),
    ],
)
def test_format_auto_depends_on_the_terminal(
    format: str, stream: type[io.StringIO], is_json: bool, is_colored: bool
) -> None:
    output = stream()
    configure_logging("info", format, output)
    structlog.get_logger().info("hello")
    assert output.getvalue().startswith("{") is is_json
    assert ("\x1b[" in output.getvalue()) is is_colored


@pytest.mark.parametrize("format", ["json", "console"])
def test_exceptions_are_logged_with_masked_traceback(format: str) -> None:
    stream = io.StringIO()
    configure_logging("info", format, stream)
    try:
        raise ValueError("GET /ws/a?token=verysecret failed")
    except ValueError:
        structlog.get_logger().exception("ours")
        logging.getLogger().exception("theirs")
    output = stream.getvalue()
    assert output.count("ValueError: GET /ws/a?token=*** failed") == 2
    assert "verysecret" not in output


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class FullDiskBehindBuffer(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise ValueError("I/O operation on closed file")


def ascii_only() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


@pytest.mark.parametrize("open_stream", [FullDisk, FullDiskBehindBuffer, Closed, ascii_only])
def test_failed_write_drops_the_line_and_raises_nothing(
    open_stream: Callable[[], Any],
) -> None:
    configure_logging("info", "json", open_stream())
    structlog.get_logger().info("ours: é")
    logging.getLogger().info("theirs: é")


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("verysecret")


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("value", [Unprintable(), [Unprintable()]])
def test_line_that_cannot_be_rendered_is_replaced(
    monkeypatch: pytest.MonkeyPatch, format: str, value: object
) -> None:
    # The handlers of pytest raise.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    stream = io.StringIO()
    configure_logging("info", format, stream)
    structlog.get_logger("ours").info("verysecret", value=value)
    logging.getLogger("theirs").info("verysecret %s", value)
    logging.getLogger("theirs").info("token=%d", "verysecret")
    output = stream.getvalue()
    assert output.count("log line failed") == 3
    assert output.count("ours") == 1
    assert output.count("theirs") == 2
    assert output.count("error") == output.count("Error") == 3
    assert "verysecret" not in output


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize(
    "values", [{"n": 10**5000}, {"d": {(1, 2): 3}}, {"exception": ValueError()}, {"stack": 1}]
)
def test_unusual_values_are_logged(format: str, values: dict[str, Any]) -> None:
    assert logged(format, "hello", **values)


def test_value_is_rendered_alike_with_and_without_masking() -> None:
    values = {"set": {1}, "map": {None: 1}, "tuple": (1, b"2")}
    shapes = []
    for neighbour in ("quiet", "token=secret"):
        line = json.loads(logged("json", "hello", neighbour=neighbour, **values).splitlines()[0])
        shapes.append({name: line[name] for name in values})
    assert shapes[0] == shapes[1] == {"set": [1], "map": {"None": 1}, "tuple": [1, "b'2'"]}


class LoggingStream(io.StringIO):
    """Logs during a write, as a finalizer may."""

    has_logged = False

    def write(self, text: str) -> int:
        if not self.has_logged:
            self.has_logged = True
            structlog.get_logger().info("inner")
        return super().write(text)


def test_logging_during_a_write_does_not_deadlock() -> None:
    stream = LoggingStream()
    configure_logging("info", "json", stream)
    structlog.get_logger().info("outer")
    assert [line["event"] for line in lines(stream)] == ["inner", "outer"]


# Characters of a header, and so of a token. Long, so that it occurs in no output by chance.
PRINTABLE = "".join(sorted(set(string.printable) - set(string.whitespace)))
tokens = st.text(PRINTABLE, min_size=12, max_size=40).filter(lambda token: set(token) - {"*"})
# Tokens in a query are encoded, or raw if they do not contain the separator.
queries = tokens.filter(lambda token: "&" not in token) | tokens.map(lambda t: quote(t, safe=""))
formats = st.sampled_from(["json", "console"])


def logged(format: str, event: str, **values: object) -> str:
    stream = io.StringIO()
    configure_logging("info", format, stream)
    structlog.get_logger().info(event, **values)
    logging.getLogger("theirs").info("%s", event)
    return stream.getvalue()


def assert_masked(token: str, output: str) -> None:
    assert output
    assert token not in output
    assert json.dumps(token)[1:-1] not in output
    assert repr(token)[1:-1] not in output


@given(token=queries, format=formats, after=st.sampled_from(["", "&a=1", " HTTP/1.1", "\n"]))
def test_token_in_a_query_is_masked(token: str, format: str, after: str) -> None:
    target = f"/ws/a?b=1&token={token}{after}"
    nested = {"list": [target, {"deep": (target.encode(), ValueError(target))}]}
    assert_masked(token, logged(format, f"GET {target}", target=target, **nested))
    assert_masked(token, mask_query(target))


@given(
    token=tokens,
    format=formats,
    key=st.sampled_from(
        ["token", "Token", "authorization", "Authorization", "instance_token", "encryption_key"]
    ),
)
def test_value_under_a_secret_key_is_masked(token: str, format: str, key: str) -> None:
    output = logged(format, "hello", **{key: token}, deep=[{key: {"value": token}}])
    assert_masked(token, output)


@given(
    token=tokens,
    format=formats,
    text=st.sampled_from(
        [
            "token: {}",
            "Token:{}",
            "Authorization: Bearer {}",
            "Authorization: Basic {}\r\nHost: x",
            "authorization={}",
            "sent bearer {}",
            "AUTHORİZATİON: Basic {}",
            "authorızatıon: Basic {}",
            '{{"token":"{}"}}',
            '{{"instanceData": {{"token": "{}"}}}}',
            "{{'token': '{}'}}",
            "[(b'token', b'{}')]",
            "[('authorization', 'Bearer {}')]",
            '"{{\\"token\\": \\"{}\\"}}"',
        ]
    ),
)
def test_token_in_a_request_head_or_a_frame_is_masked(token: str, format: str, text: str) -> None:
    assert_masked(token, logged(format, text.format(token)))


def test_values_without_secrets_are_logged_unchanged() -> None:
    output = logged("json", "GET /api?instanceName=a,b 200", size=3, ok=True, none=None, ms=0.5)
    [ours, _theirs] = [json.loads(line) for line in output.splitlines()]
    assert ours["event"] == "GET /api?instanceName=a,b 200"
    assert (ours["size"], ours["ok"], ours["none"], ours["ms"]) == (3, True, None, 0.5)
