"""Bad input, each kind with the one right answer, thrown at an instance that is busy."""

import random
from typing import NamedTuple

import trio

from bench.websocket_client import CLOSE, PING, TEXT, client_frame, parse_frames
from tests.clients import UPGRADE, RawClient, request_bytes
from tests.soak.findings import PATIENCE_SECONDS, Findings
from tests.soak.server import ACCOUNT_TOKEN, Server
from tests.soak.stage import Stage

__all__ = ["NUISANCES", "Nuisance", "nuisance", "vandal"]

_PAUSE_SECONDS = 0.05

_BINARY = 0x2
_MASK = bytes(4)


class Nuisance(NamedTuple):
    """Something that nobody should send.

    Args:
        name: what it is.
        data: the bytes.
        expected: the HTTP status that answers it, or the close code; 0: the peer hangs up
            without waiting for an answer.
        role: "" for bytes on a fresh connection; else they are sent on a WebSocket, that of a
            "client" or of a "publisher".
    """

    name: str
    data: bytes
    expected: int
    role: str = ""


def _frame(first: int, second: int, rest: bytes = b"") -> bytes:
    return bytes((first, second)) + rest


def _publish(body: bytes, **headers: str) -> bytes:
    fields = {"token": ACCOUNT_TOKEN, "Content-Type": "application/json", **headers}
    return request_bytes("POST", "/api/events/publish/stage-0", fields, body)


def _upgrade(target: str = "/ws/stage-0", **headers: str) -> bytes:
    fields = {**UPGRADE, "token": ACCOUNT_TOKEN}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return request_bytes("GET", target, {name: text for name, text in fields.items() if text})


NUISANCES = (
    Nuisance("garbage instead of HTTP", b"\x00\xff\x00 nonsense\r\n\r\n", 400),
    Nuisance("an unknown route", request_bytes("GET", "/api/nothing"), 404),
    Nuisance("a wrong method", request_bytes("PUT", "/api/instance/new", None, b"{}"), 405),
    Nuisance("no token", request_bytes("GET", "/api/instance/list"), 401),
    Nuisance("a bad token", request_bytes("GET", "/api/instance/list", {"token": "no"}), 401),
    Nuisance("a body that is no JSON", _publish(b"{"), 400),
    Nuisance("an event of no known type", _publish(b'{"event":"no","data":{}}'), 400),
    Nuisance("a body far too large", _publish(b"{}", **{"Content-Length": "99999999"}), 413),
    Nuisance(
        "a request head far too large",
        request_bytes("GET", "/health", {"X-Padding": "x" * 20_000}),
        431,
    ),
    Nuisance("half a request head", b"POST /api/instance/new HTTP/1.1\r\nHost: te", 0),
    Nuisance("half a body", _publish(b'{"event":', **{"Content-Length": "1000"}), 0),
    Nuisance("an upgrade with a bad token", _upgrade(token="no"), 401),
    Nuisance("an upgrade to nowhere", _upgrade("/ws/nowhere"), 404),
    Nuisance("an upgrade without Upgrade", _upgrade(Upgrade=""), 426),
    Nuisance("an upgrade to another version", _upgrade(Sec_WebSocket_Version="8"), 426),
    Nuisance("an upgrade with a bad key", _upgrade(Sec_WebSocket_Key="short"), 400),
    Nuisance("half an upgrade", _upgrade()[:60], 0),
    Nuisance("an upgrade, and gone", _upgrade(), 0),
    Nuisance("an unmasked frame", _frame(0x81, 2, b"hi"), 1002, "client"),
    Nuisance("a reserved bit", _frame(0xF1, 0x80, _MASK), 1002, "client"),
    Nuisance("an unknown opcode", _frame(0x83, 0x80, _MASK), 1002, "client"),
    Nuisance("text that is no UTF-8", client_frame(b"\xc3\x28"), 1007, "client"),
    Nuisance("a ping of 126 bytes", client_frame(bytes(126), PING), 1002, "client"),
    Nuisance("a message of 70,000 bytes", client_frame(b"x" * 70_000), 1009, "client"),
    Nuisance("a continuation of nothing", client_frame(b"x", 0), 1002, "client"),
    Nuisance("a close with a bad code", client_frame(b"\x03\xed", CLOSE), 1002, "client"),
    Nuisance("half a frame", client_frame(b"x" * 1000)[:500], 0, "client"),
    Nuisance("a proper goodbye", client_frame(b"\x03\xe8", CLOSE), 1000, "client"),
    Nuisance("a binary event", client_frame(b"{}", _BINARY), 1008, "publisher"),
    Nuisance("an event that is no JSON", client_frame(b"no"), 1008, "publisher"),
    Nuisance("a publisher's unmasked frame", _frame(0x81, 2, b"{}"), 1002, "publisher"),
    Nuisance("half an event", client_frame(b'{"event"' + b" " * 999)[:500], 0, "publisher"),
)


async def vandal(stage: Stage, findings: Findings, chance: random.Random) -> None:
    """All of them in random order, again and again, until cancelled."""
    while True:
        for each in chance.sample(NUISANCES, len(NUISANCES)):
            with findings.watching(each.name):
                await nuisance(stage, each)
                findings.done["bad inputs"] += 1
            await trio.sleep(chance.uniform(0, 2 * _PAUSE_SECONDS))


async def nuisance(stage: Stage, each: Nuisance) -> None:
    """Send it, and see the answer."""
    with trio.fail_after(PATIENCE_SECONDS):
        client = await _connected(stage, each.role)
        async with client.stream:
            await client.send(each.data)
            if each.expected:
                answered = await (_close_code(client) if each.role else _status(client))
                assert answered == each.expected, f"answered {answered}, not {each.expected}"
            await trio.aclose_forcefully(client.stream)


async def _connected(stage: Stage, role: str) -> RawClient:
    server: Server = stage.server
    if not role:
        return await server.open()
    path = f"/ws/{stage.name}" + ("/publish" if role == "publisher" else "")
    client, answer = await server.upgrade(path, stage.token)
    assert answer.status == 101, answer
    return client


async def _status(client: RawClient) -> int:
    return (await client.answer()).status


async def _close_code(client: RawClient) -> int:
    """Of the close frame; the events before it are passed over."""
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
