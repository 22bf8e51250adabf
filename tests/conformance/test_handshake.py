"""RFC 6455, section 4.2, and HTTP: upgrade requests written byte by byte.

Sections without a document are those of RFC 6455; "9110" and "9112" are RFCs of HTTP.
"""

from typing import NamedTuple

import pytest

from tests.clients import KEY
from tests.conformance.harness import PRODUCER, SUBSCRIBER, ping, running_server
from tests.fakes import client_frame

# The headers of a valid request; rows change them by name.
VALID = {
    "host": "Host: ryze.test",
    "upgrade": "Upgrade: websocket",
    "connection": "Connection: Upgrade",
    "version": "Sec-WebSocket-Version: 13",
    "key": f"Sec-WebSocket-Key: {KEY}",
}
KEEP_ALIVE, UPGRADE = "Connection: keep-alive", VALID["connection"]
BAD = (400, "Invalid WebSocket handshake")
NOT_HTTP = (400, "Bad request")
NO_UPGRADE = (426, "Upgrade required")
# Not an upgrade of a WebSocket target: handled by the HTTP routes, and tested with them.
NO_ROUTE = (404, None)


class Request(NamedTuple):
    """A row: how a request differs from a valid one, and the refusal (status, message)."""

    clause: str
    case: str
    changes: dict[str, str]
    refusal: tuple[int, str | None] | None = None
    line: str = f"GET {SUBSCRIBER} HTTP/1.1"

    @property
    def bytes(self) -> bytes:
        lines = [self.line, *({**VALID, **self.changes}).values()]
        # An empty line would end the head.
        return "\r\n".join([*filter(None, lines), "", ""]).encode("latin-1")


def request_id(request: Request) -> str:
    return f"{request.clause}: {request.case}"


def key(value: str) -> dict[str, str]:
    return {"key": f"Sec-WebSocket-Key: {value}"}


def version(value: str) -> dict[str, str]:
    return {"version": f"Sec-WebSocket-Version: {value}"}


def more(line: str) -> dict[str, str]:
    return {"more": line}


def line(method: str = "GET", target: str = SUBSCRIBER, http: str = "HTTP/1.1") -> str:
    return f"{method} {target} {http}"


REQUESTS = [
    Request("4.2.1", "valid", {}),
    # The key
    Request("4.2.1 (5)", "no key", {"key": ""}, BAD),
    Request("4.2.1 (5)", "an empty key", key(""), BAD),
    Request("4.2.1 (5)", "15 bytes", key("AAAAAAAAAAAAAAAAAAAA"), BAD),
    Request("4.2.1 (5)", "17 bytes", key("AAAAAAAAAAAAAAAAAAAAAAA="), BAD),
    Request("4.2.1 (5)", "without padding", key("AAAAAAAAAAAAAAAAAAAAAA"), BAD),
    Request("4.2.1 (5)", "not base64", key("AAAAAAAAAAAAAAAAAAAA%%=="), BAD),
    Request("4.2.1 (5)", "URL-safe base64", key("__________________-_AA=="), BAD),
    Request("4.2.1 (5)", "characters after the padding", key("AAAAAAAAAAAAAAAAAAAAAA==AA"), BAD),
    Request("4.2.1 (5)", "white space inside", key("AAAAAAAAAAA AAAAAAAAAAA=="), BAD),
    Request("4.2.1 (5)", "white space around", key(f"  {KEY}\t")),
    Request("4.2.1 (5)", "not ASCII", key("\u00e9AAAAAAAAAAAAAAAAAAAAA=="), BAD),
    Request("11.3.1", "duplicate key", more(VALID["key"]), BAD),
    # The version
    Request("4.2.1 (6)", "no version", {"version": ""}, BAD),
    Request("4.4", "an older version", version("8"), NO_UPGRADE),
    Request("4.4", "a newer version", version("14"), NO_UPGRADE),
    Request("4.4", "not a number", version("x"), NO_UPGRADE),
    Request("4.4", "a leading zero", version("013"), NO_UPGRADE),
    Request("4.4", "a list", version("13, 8"), NO_UPGRADE),
    Request("11.3.5", "duplicate version", more(VALID["version"]), NO_UPGRADE),
    # Upgrade and Connection
    Request("4.2.1 (3)", "no upgrade", {"upgrade": ""}, NO_UPGRADE),
    Request("4.2.1 (3)", "in other case", {"upgrade": "UPGRADE: WebSocket"}),
    Request("4.2.1 (3)", "in a list", {"upgrade": "Upgrade: h2c, websocket"}),
    Request("9110, 5.3", "in two headers", more("Upgrade: h2c")),
    Request("4.2.1 (3)", "another upgrade", {"upgrade": "Upgrade: h2c"}, BAD),
    Request("9110, 7.8", "with a protocol version", {"upgrade": "Upgrade: websocket/13"}, BAD),
    Request("4.2.1 (4)", "no connection", {"connection": ""}, BAD),
    Request("4.2.1 (4)", "in capitals", {"connection": "connection: UPGRADE"}),
    Request("4.2.1 (4)", "in a list", {"connection": "Connection: keep-alive, Upgrade"}),
    Request("9110, 5.6.1", "empty items", {"connection": "Connection: ,,keep-alive,, Upgrade ,"}),
    Request("9110, 5.3", "in a second header", {"connection": KEEP_ALIVE, **more(UPGRADE)}),
    Request("4.2.1 (4)", "another connection option", {"connection": "Connection: close"}, BAD),
    Request("4.2.1 (4)", "part of a longer token", {"connection": "Connection: xupgrade"}, BAD),
    # The request line and the host
    Request("4.2.1 (1)", "HTTP/1.0", {}, BAD, line(http="HTTP/1.0")),
    Request("4.2.1 (1)", "HTTP/2.0", {}, BAD, line(http="HTTP/2.0")),
    Request("4.2.1 (1)", "HTTP/0.9", {}, BAD, f"GET {SUBSCRIBER}"),
    Request("4.2.1 (1)", "POST", {}, NO_ROUTE, line("POST")),
    Request("4.2.1 (1)", "HEAD", {}, NO_ROUTE, line("HEAD")),
    Request("9112, 3", "a lower-case method", {}, NO_ROUTE, line("get")),
    Request("9112, 3.2.2", "an absolute target", {}, None, line(target="http://x.test/ws/shop")),
    Request("9112, 3.2.2", "an absolute target, ws", {}, None, line(target="ws://x.test/ws/shop")),
    Request("9112, 3.2.2", "an absolute target, unknown path", {}, NO_ROUTE, line(target="http://x.test/ws")),
    Request("4.2.1 (1)", "a query", {}, None, line(target=f"{SUBSCRIBER}?token=a&b=%20")),
    Request("9112, 3.2", "a space in the target", {}, BAD, line(target="/ws/a b")),
    Request("9112, 3", "a tab instead of a space", {}, BAD, f"GET {SUBSCRIBER}\tHTTP/1.1"),
    Request("4.2.1 (2)", "no host", {"host": ""}, BAD),
    Request("9112, 3.2", "two hosts", more("Host: other.test"), BAD),
    Request("9112, 3.2", "an empty host", {"host": "Host:"}),
    # Header lines
    # A server SHOULD ignore it; this one does not.
    Request("9112, 2.2", "a leading empty line", {}, NOT_HTTP, f"\r\n{line()}"),
    Request("9112, 5.2", "a folded header", {"connection": "Connection: keep-alive,\r\n Upgrade"}),
    Request("9112, 5.1", "a space before a colon", more("X : y"), BAD),
    Request("9112, 5", "no colon", more("X"), BAD),
    Request("9112, 5", "no name", more(": x"), BAD),
    Request("9110, 5.5", "NUL in a value", more("X: \0"), BAD),
    Request("9110, 5.5", "a carriage return in a value", more("X: a\rb"), BAD),
    Request("9110, 5.5", "obs-text in a value", more("X: \u00e9")),
    Request("9112, 2.2", "bare line feeds", more("X: y\nZ: w")),
    # Bodies, which would be read as frames
    Request("9110, 9.3.1", "an empty body", more("Content-Length: 0")),
    Request("9110, 9.3.1", "a body", more("Content-Length: 5"), BAD),
    Request("9112, 6.1", "a chunked body", more("Transfer-Encoding: chunked"), BAD),
    Request("9112, 6.3", "an invalid length", more("Content-Length: -1"), BAD),
    Request("9112, 6.3", "duplicate lengths", more("Content-Length: 0\r\nContent-Length: 5"), BAD),
    # Other headers
    Request("4.2.1 (8)", "an unsupported subprotocol", more("Sec-WebSocket-Protocol: chat")),
    Request("4.1", "a cookie", more("Cookie: a=b; c=d")),
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=request_id)
@pytest.mark.parametrize("step", [10**9, 1])
async def test_upgrade_request(request_: Request, step: int) -> None:
    """In one piece, and byte by byte."""
    async with running_server() as server:
        client = await server.open()
        data = request_.bytes
        for start in range(0, len(data), step):
            await client.send(data[start : start + step])
        response = await client.read_response(has_body=not request_.line.startswith("HEAD"))
        if request_.refusal is None:
            assert response.status == 101
            assert "sec-websocket-protocol" not in response.headers
            await client.send(ping(b"1"))
            assert bytes(await client.stream.receive_some()) == b"\x8a\x011"
        elif request_.refusal is NO_ROUTE:
            assert response.status == 404
        else:
            assert response.error == request_.refusal
        if response.status == 426:
            assert response.headers["upgrade"] == "websocket"
            assert "upgrade" in response.headers["connection"].lower()
            given = "version" in request_.changes or "more" in request_.changes
            assert response.headers.get("sec-websocket-version") == ("13" if given else None)


@pytest.mark.parametrize("target", [SUBSCRIBER, PRODUCER])
async def test_frames_sent_before_the_response_are_processed(target: str) -> None:
    """Section 4.1: a client waits for the response; one that does not loses nothing."""
    async with running_server() as server:
        client = await server.open()
        request = Request("4.1", "followed by frames", {}, None, line(target=target))
        await client.send(request.bytes + ping(b"1") + client_frame(8))
        assert (await client.read_response()).status == 101
        assert await client.rest() == b"\x8a\x011" + b"\x88\x02\x03\xe8"


async def test_response_has_the_accept_token_of_the_key() -> None:
    """Section 1.3: the RFC's own example."""
    async with running_server() as server:
        client = await server.open()
        request = Request("1.3", "the example", key("dGhlIHNhbXBsZSBub25jZQ=="))
        await client.send(request.bytes)
        response = await client.read_response()
        assert response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert response.headers["connection"] == "Upgrade"


async def test_absolute_target_overrides_the_host_header() -> None:
    """RFC 9112, section 3.2.2."""
    async with running_server() as server:
        client = await server.open()
        await client.send(Request("", "", {}, None, line(target="http://x.test/ws/shop")).bytes)
        assert (await client.read_response()).status == 101
        assert server.hosts == ["x.test"]
