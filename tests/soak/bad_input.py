"""Bad input of every kind, sent to a busy instance, each with the one right response."""

import random
from typing import NamedTuple

import trio

from bench.websocket_client import CLOSE, PING, TEXT, client_frame, parse_frames
from tests.clients import UPGRADE, RawClient, request_bytes
from tests.soak.instance import Instance
from tests.soak.server import ACCOUNT_TOKEN
from tests.soak.violations import TIMEOUT_SECONDS, Violations

__all__ = ["BAD_INPUTS", "BUSY_INSTANCE", "BadInput", "run_bad_inputs", "send_bad_input"]

# Name of the instance to which bad input is sent.
BUSY_INSTANCE = "soak-0"

_PAUSE_SECONDS = 0.05

_BINARY = 0x2
_MASK = bytes(4)


class BadInput(NamedTuple):
    """One kind of bad input.

    Args:
        name: of this kind.
        data: the bytes to send.
        expected: HTTP status of the response, or close code; 0: the client disconnects without
            waiting for either.
        role: "" to send the bytes on a new connection; else on the WebSocket of a "subscriber" or
            a "producer".
    """

    name: str
    data: bytes
    expected: int
    role: str = ""


def _frame(first: int, second: int, rest: bytes = b"") -> bytes:
    return bytes((first, second)) + rest


def _publish(body: bytes, **headers: str) -> bytes:
    fields = {"token": ACCOUNT_TOKEN, "Content-Type": "application/json", **headers}
    return request_bytes("POST", f"/api/events/publish/{BUSY_INSTANCE}", fields, body)


def _upgrade(target: str = f"/ws/{BUSY_INSTANCE}", **headers: str) -> bytes:
    fields = {**UPGRADE, "token": ACCOUNT_TOKEN}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return request_bytes("GET", target, {name: text for name, text in fields.items() if text})


BAD_INPUTS = (
    BadInput("garbage instead of HTTP", b"\x00\xff\x00 nonsense\r\n\r\n", 400),
    BadInput("an unknown route", request_bytes("GET", "/api/nothing"), 404),
    BadInput("a wrong method", request_bytes("PUT", "/api/instance/new", None, b"{}"), 405),
    BadInput("no token", request_bytes("GET", "/api/instance/list"), 401),
    BadInput("a bad token", request_bytes("GET", "/api/instance/list", {"token": "no"}), 401),
    BadInput("a body that is not JSON", _publish(b"{"), 400),
    BadInput("an event of unknown type", _publish(b'{"event":"no","data":{}}'), 400),
    BadInput("a body over the limit", _publish(b"{}", **{"Content-Length": "99999999"}), 413),
    BadInput(
        "a request head over the limit",
        request_bytes("GET", "/health", {"X-Padding": "x" * 20_000}),
        431,
    ),
    BadInput("half a request head", b"POST /api/instance/new HTTP/1.1\r\nHost: te", 0),
    BadInput("half a body", _publish(b'{"event":', **{"Content-Length": "1000"}), 0),
    BadInput("an upgrade with a bad token", _upgrade(token="no"), 401),
    BadInput("an upgrade to an unknown path", _upgrade("/ws/nowhere"), 404),
    BadInput("an upgrade without Upgrade", _upgrade(Upgrade=""), 426),
    BadInput("an upgrade with version 8", _upgrade(Sec_WebSocket_Version="8"), 426),
    BadInput("an upgrade with a bad key", _upgrade(Sec_WebSocket_Key="short"), 400),
    BadInput("half an upgrade", _upgrade()[:60], 0),
    BadInput("an upgrade without waiting for the response", _upgrade(), 0),
    BadInput("an unmasked frame", _frame(0x81, 2, b"hi"), 1002, "subscriber"),
    BadInput("a reserved bit", _frame(0xF1, 0x80, _MASK), 1002, "subscriber"),
    BadInput("an unknown opcode", _frame(0x83, 0x80, _MASK), 1002, "subscriber"),
    BadInput("text that is not UTF-8", client_frame(b"\xc3\x28"), 1007, "subscriber"),
    BadInput("a ping of 126 bytes", client_frame(bytes(126), PING), 1002, "subscriber"),
    BadInput("a message of 70,000 bytes", client_frame(b"x" * 70_000), 1009, "subscriber"),
    BadInput("a continuation without a first fragment", client_frame(b"x", 0), 1002, "subscriber"),
    BadInput("a close with code 1005", client_frame(b"\x03\xed", CLOSE), 1002, "subscriber"),
    BadInput("half a frame", client_frame(b"x" * 1000)[:500], 0, "subscriber"),
    BadInput("a close with code 1000", client_frame(b"\x03\xe8", CLOSE), 1000, "subscriber"),
    BadInput("a binary event", client_frame(b"{}", _BINARY), 1008, "producer"),
    BadInput("an event that is not JSON", client_frame(b"no"), 1008, "producer"),
    BadInput("an unmasked frame of a producer", _frame(0x81, 2, b"{}"), 1002, "producer"),
    BadInput("half an event", client_frame(b'{"event"' + b" " * 999)[:500], 0, "producer"),
)


async def run_bad_inputs(instance: Instance, violations: Violations, rng: random.Random) -> None:
    """Send all bad inputs in random order; repeat until cancelled."""
    while True:
        for bad_input in rng.sample(BAD_INPUTS, len(BAD_INPUTS)):
            with violations.recording(bad_input.name):
                await send_bad_input(instance, bad_input)
                violations.counts["bad inputs"] += 1
            await trio.sleep(rng.uniform(0, 2 * _PAUSE_SECONDS))


async def send_bad_input(instance: Instance, bad_input: BadInput) -> None:
    """Send it, and check the status or close code that comes back."""
    with trio.fail_after(TIMEOUT_SECONDS):
        client = await _connect(instance, bad_input.role)
        async with client.stream:
            await client.send(bad_input.data)
            if expected := bad_input.expected:
                got = await (_close_code(client) if bad_input.role else _status(client))
                assert got == expected, f"expected {expected}, got {got}"
            await trio.aclose_forcefully(client.stream)


async def _connect(instance: Instance, role: str) -> RawClient:
    if not role:
        return await instance.server.open()
    path = f"/ws/{instance.name}" + ("/publish" if role == "producer" else "")
    client, response = await instance.server.upgrade(path, instance.token)
    assert response.status == 101, response
    return client


async def _status(client: RawClient) -> int:
    return (await client.read_response()).status


async def _close_code(client: RawClient) -> int:
    """Code of the close frame; events and pings before it are skipped."""
    data = client.take_buffer()
    while True:
        end = 0
        for frame in parse_frames(data):
            end = frame.end
            if frame.opcode == CLOSE:
                return int.from_bytes(frame.payload[:2], "big")
            assert frame.opcode in (TEXT, PING), frame
        more = bytes(await client.stream.receive_some(65536))
        assert more, "closed without a close frame"
        data = data[end:] + more
