"""RFC 6455, section 4.2, and the HTTP around it: requests written byte by byte.

Section numbers alone are those of RFC 6455; "9112" and "9110" are HTTP's.
"""

from typing import NamedTuple

import pytest

from tests.clients import KEY
from tests.conformance.harness import PUBLISHER, SUBSCRIBER, open_door, ping
from tests.fakes import client_frame

# The header of a good request, line by line, by which the rows name what they change.
GOOD = {
    "host": "Host: ryze.test",
    "upgrade": "Upgrade: websocket",
    "connection": "Connection: Upgrade",
    "version": "Sec-WebSocket-Version: 13",
    "key": f"Sec-WebSocket-Key: {KEY}",
}
KEEP_ALIVE, UPGRADE = "Connection: keep-alive", GOOD["connection"]
BAD = (400, "Invalid WebSocket handshake")
NOT_HTTP = (400, "Bad request")
NO_UPGRADE = (426, "Upgrade required")
# Not for the gateway; what the HTTP routes say to it is tested with them.
NO_ROUTE = (404, None)


class Request(NamedTuple):
    """A row: what is special about a request, and the status and message of the refusal."""

    clause: str
    what: str
    changes: dict[str, str]
    refusal: tuple[int, str | None] | None = None
    line: str = f"GET {SUBSCRIBER} HTTP/1.1"

    @property
    def bytes(self) -> bytes:
        lines = [self.line, *({**GOOD, **self.changes}).values()]
        # An empty line would end the head.
        return "\r\n".join([*filter(None, lines), "", ""]).encode("latin-1")


def request_id(request: Request) -> str:
    return f"{request.clause}: {request.what}"


def key(value: str) -> dict[str, str]:
    return {"key": f"Sec-WebSocket-Key: {value}"}


def version(value: str) -> dict[str, str]:
    return {"version": f"Sec-WebSocket-Version: {value}"}


def more(line: str) -> dict[str, str]:
    return {"more": line}


def line(method: str = "GET", target: str = SUBSCRIBER, http: str = "HTTP/1.1") -> str:
    return f"{method} {target} {http}"


REQUESTS = [
    Request("4.2.1", "as it should be", {}),
    # The key
    Request("4.2.1 (5)", "no key", {"key": ""}, BAD),
    Request("4.2.1 (5)", "an empty key", key(""), BAD),
    Request("4.2.1 (5)", "15 bytes", key("AAAAAAAAAAAAAAAAAAAA"), BAD),
    Request("4.2.1 (5)", "17 bytes", key("AAAAAAAAAAAAAAAAAAAAAAA="), BAD),
    Request("4.2.1 (5)", "without its padding", key("AAAAAAAAAAAAAAAAAAAAAA"), BAD),
    Request("4.2.1 (5)", "no base64", key("AAAAAAAAAAAAAAAAAAAA%%=="), BAD),
    Request("4.2.1 (5)", "the other base64", key("__________________-_AA=="), BAD),
    Request("4.2.1 (5)", "base64 and more", key("AAAAAAAAAAAAAAAAAAAAAA==AA"), BAD),
    Request("4.2.1 (5)", "white space in it", key("AAAAAAAAAAA AAAAAAAAAAA=="), BAD),
    Request("4.2.1 (5)", "white space around it", key(f"  {KEY}\t")),
    Request("4.2.1 (5)", "not ASCII", key("\u00e9AAAAAAAAAAAAAAAAAAAAA=="), BAD),
    Request("11.3.1", "two keys", more(GOOD["key"]), BAD),
    # The version
    Request("4.2.1 (6)", "no version", {"version": ""}, BAD),
    Request("4.4", "an older version", version("8"), NO_UPGRADE),
    Request("4.4", "a newer version", version("14"), NO_UPGRADE),
    Request("4.4", "no number", version("x"), NO_UPGRADE),
    Request("4.4", "a leading zero", version("013"), NO_UPGRADE),
    Request("4.4", "a list", version("13, 8"), NO_UPGRADE),
    Request("11.3.5", "twice the same", more(GOOD["version"]), NO_UPGRADE),
    # Upgrade and Connection
    Request("4.2.1 (3)", "no upgrade", {"upgrade": ""}, NO_UPGRADE),
    Request("4.2.1 (3)", "in other letters", {"upgrade": "UPGRADE: WebSocket"}),
    Request("4.2.1 (3)", "among others", {"upgrade": "Upgrade: h2c, websocket"}),
    Request("9110, 5.3", "among others, a line each", more("Upgrade: h2c")),
    Request("4.2.1 (3)", "another upgrade", {"upgrade": "Upgrade: h2c"}, BAD),
    Request("9110, 7.8", "with a version", {"upgrade": "Upgrade: websocket/13"}, BAD),
    Request("4.2.1 (4)", "no connection", {"connection": ""}, BAD),
    Request("4.2.1 (4)", "in capitals", {"connection": "connection: UPGRADE"}),
    Request("4.2.1 (4)", "in a list", {"connection": "Connection: keep-alive, Upgrade"}),
    Request("9110, 5.6.1", "in a bad list", {"connection": "Connection: ,,keep-alive,, Upgrade ,"}),
    Request("9110, 5.3", "in a line of its own", {"connection": KEEP_ALIVE, **more(UPGRADE)}),
    Request("4.2.1 (4)", "a connection of another kind", {"connection": "Connection: close"}, BAD),
    Request("4.2.1 (4)", "a part of a word", {"connection": "Connection: xupgrade"}, BAD),
    # The request line and the host
    Request("4.2.1 (1)", "HTTP/1.0", {}, BAD, line(http="HTTP/1.0")),
    Request("4.2.1 (1)", "HTTP/2.0", {}, BAD, line(http="HTTP/2.0")),
    Request("4.2.1 (1)", "HTTP/0.9", {}, BAD, f"GET {SUBSCRIBER}"),
    Request("4.2.1 (1)", "POST", {}, NO_ROUTE, line("POST")),
    Request("4.2.1 (1)", "HEAD", {}, NO_ROUTE, line("HEAD")),
    Request("9112, 3", "a method in small letters", {}, NO_ROUTE, line("get")),
    Request("9112, 3.2.2", "an absolute target", {}, None, line(target="http://x.test/ws/shop")),
    Request("9112, 3.2.2", "an absolute target, ws", {}, None, line(target="ws://x.test/ws/shop")),
    Request("9112, 3.2.2", "elsewhere, absolute", {}, NO_ROUTE, line(target="http://x.test/ws")),
    Request("4.2.1 (1)", "a query", {}, None, line(target=f"{SUBSCRIBER}?token=a&b=%20")),
    Request("9112, 3.2", "a space in the target", {}, BAD, line(target="/ws/a b")),
    Request("9112, 3", "a tab for a space", {}, BAD, f"GET {SUBSCRIBER}\tHTTP/1.1"),
    Request("4.2.1 (2)", "no host", {"host": ""}, BAD),
    Request("9112, 3.2", "two hosts", more("Host: other.test"), BAD),
    Request("9112, 3.2", "an empty host", {"host": "Host:"}),
    # Lines
    # A server should pass over it, and may not.
    Request("9112, 2.2", "an empty line before", {}, NOT_HTTP, f"\r\n{line()}"),
    Request("9112, 5.2", "a folded line", {"connection": "Connection: keep-alive,\r\n Upgrade"}),
    Request("9112, 5.1", "a space before a colon", more("X : y"), BAD),
    Request("9112, 5", "no colon", more("X"), BAD),
    Request("9112, 5", "no name", more(": x"), BAD),
    Request("9110, 5.5", "NUL in a value", more("X: \0"), BAD),
    Request("9110, 5.5", "a carriage return in a value", more("X: a\rb"), BAD),
    Request("9110, 5.5", "other characters in a value", more("X: \u00e9")),
    Request("9112, 2.2", "only line feeds", more("X: y\nZ: w")),
    # Bodies: they would be read as frames
    Request("9110, 9.3.1", "an empty body", more("Content-Length: 0")),
    Request("9110, 9.3.1", "a body", more("Content-Length: 5"), BAD),
    Request("9112, 6.1", "a body in chunks", more("Transfer-Encoding: chunked"), BAD),
    Request("9112, 6.3", "a length that is none", more("Content-Length: -1"), BAD),
    Request("9112, 6.3", "two lengths", more("Content-Length: 0\r\nContent-Length: 5"), BAD),
    # What else may come
    Request("4.2.1 (8)", "a subprotocol that we do not have", more("Sec-WebSocket-Protocol: chat")),
    Request("4.1", "a cookie", more("Cookie: a=b; c=d")),
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=request_id)
@pytest.mark.parametrize("step", [10**9, 1])
async def test_a_request(request_: Request, step: int) -> None:
    """Whole, and a byte at a time."""
    async with open_door() as door:
        client = await door.open()
        data = request_.bytes
        for start in range(0, len(data), step):
            await client.send(data[start : start + step])
        answer = await client.answer(has_body=not request_.line.startswith("HEAD"))
        if request_.refusal is None:
            assert answer.status == 101
            assert "sec-websocket-protocol" not in answer.headers
            await client.send(ping(b"1"))
            assert bytes(await client.stream.receive_some()) == b"\x8a\x011"
        elif request_.refusal is NO_ROUTE:
            assert answer.status == 404
        else:
            assert answer.error == request_.refusal
        if answer.status == 426:
            assert answer.headers["upgrade"] == "websocket"
            assert "upgrade" in answer.headers["connection"].lower()
            given = "version" in request_.changes or "more" in request_.changes
            assert answer.headers.get("sec-websocket-version") == ("13" if given else None)


@pytest.mark.parametrize("target", [SUBSCRIBER, PUBLISHER])
async def test_frames_may_follow_the_request_at_once(target: str) -> None:
    """Section 4.1: a client waits for the answer; one that does not loses nothing."""
    async with open_door() as door:
        client = await door.open()
        request = Request("4.1", "and frames", {}, None, line(target=target))
        await client.send(request.bytes + ping(b"1") + client_frame(8))
        assert (await client.answer()).status == 101
        assert await client.rest() == b"\x8a\x011" + b"\x88\x02\x03\xe8"


async def test_an_answer_has_the_accept_token_of_its_key() -> None:
    """Section 1.3: the RFC's own example."""
    async with open_door() as door:
        client = await door.open()
        request = Request("1.3", "the example", key("dGhlIHNhbXBsZSBub25jZQ=="))
        await client.send(request.bytes)
        answer = await client.answer()
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert answer.headers["connection"] == "Upgrade"


async def test_the_host_of_an_absolute_target_counts() -> None:
    """RFC 9112, section 3.2.2: the header is ignored then."""
    async with open_door() as door:
        client = await door.open()
        await client.send(Request("", "", {}, None, line(target="http://x.test/ws/shop")).bytes)
        assert (await client.answer()).status == 101
        assert door.hosts == ["x.test"]
