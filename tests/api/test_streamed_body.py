"""NDJSON over HTTP: published while it is received, with back-pressure and limits."""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import quart
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ryze.access.drain_flag import DrainFlag
from ryze.api.streamed_body import StreamedBody, Streams
from ryze.errors import ApiError
from ryze.events.event import Event
from ryze.records import Instance
from tests.clients import RawClient, Response, chunked, request_bytes
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer, until

PUBLISH = "/api/events/publish/demo"
NDJSON = {"token": ACCOUNT_TOKEN, "Content-Type": "application/x-ndjson"}
CHUNKED = {**NDJSON, "Transfer-Encoding": "chunked"}
HEAD = request_bytes("POST", PUBLISH, CHUNKED)
END = b"0\r\n\r\n"


def line(n: int, end: bytes = b"\n") -> bytes:
    return b'{"event":"call.update","data":{"n":%d}}%b' % (n, end)


def lines(*numbers: int) -> bytes:
    return b"".join(line(n) for n in numbers)


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def publish(server: Server, body: bytes, size: int = 0, **headers: str) -> Response:
    """Send the body in chunks of `size`, or with a Content-Length."""
    if size:
        data = request_bytes("POST", PUBLISH, {**CHUNKED, **headers}, chunked(body, size))
    else:
        data = request_bytes("POST", PUBLISH, {**NDJSON, **headers}, body)
    return await server.raw(data)


async def open_stream(server: Server, body: bytes = b"") -> RawClient:
    """Begin a request, and send its first lines."""
    client = await server.open()
    await client.send(HEAD + (piece(body) if body else b""))
    return client


class TestLines:
    @pytest.mark.parametrize("size", [0, 1, 7, 100, 100_000])
    async def test_response_to_the_byte(self, server: Server, demo: str, size: int) -> None:
        socket = await server.connect()
        response = await publish(server, lines(*range(20)), size)
        assert response.status == 202
        assert response.headers["content-type"] == "application/json"
        assert response.body == (
            b'{"success":true,"message":"Event published","published":20,"clients":1}'
        )
        assert [await socket.data() for _ in range(20)] == [{"n": n} for n in range(20)]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\n",
            b" \r\n\t\n\r\n",
            b"\n" * 100_000,
        ],
        ids=range(4),
    )
    async def test_body_without_events_publishes_nothing(
        self, server: Server, demo: str, body: bytes
    ) -> None:
        response = await publish(server, body)
        assert (response.status, response.json["published"], response.json["clients"]) == (
            202,
            0,
            0,
        )

    @pytest.mark.parametrize(
        "body",
        [
            line(0, b"\r\n") + line(1, b"\r\n"),
            b"\r\n\n  \n" + line(0) + b"\n" + line(1) + b"\n",
            line(0) + line(1, b""),
            line(0) + line(1, b"\r"),
            b" " + line(0, b" \t\n") + line(1, b"  "),
        ],
        ids=["CRLF", "blank lines", "no final newline", "half an end", "spaces"],
    )
    async def test_line_ends_and_blank_lines(self, server: Server, demo: str, body: bytes) -> None:
        socket = await server.connect()
        response = await publish(server, body)
        assert (response.status, response.json["published"]) == (202, 2)
        assert [await socket.data() for _ in range(2)] == [{"n": 0}, {"n": 1}]

    async def test_line_is_published_when_it_is_received(self, server: Server, demo: str) -> None:
        socket = await server.connect()
        client = await open_stream(server)
        for n in range(3):
            await client.send(piece(line(n) + b'{"ev'))
            assert await socket.data() == {"n": n}
            await client.send(piece(b'ent":"group.flow","data":{}}\n'))
            assert (await socket.document())["event"] == "group.flow"
        await client.send(END)
        response = await client.read_response()
        assert (response.status, response.json["published"]) == (202, 6)

    async def test_connection_is_reused_for_the_next_request(
        self, server: Server, demo: str
    ) -> None:
        client = await server.open()
        for _ in range(3):
            await client.send(HEAD + piece(line(1)) + END)
            assert (await client.read_response()).status == 202

    async def test_stream_may_exceed_the_largest_body(self, start_server: StartServer) -> None:
        server = await start_server(max_body_bytes=100)
        await server.create()
        response = await publish(server, lines(*range(1000)), 50)
        assert (response.status, response.json["published"]) == (202, 1000)

    async def test_large_line_is_published_in_order(self, server: Server, demo: str) -> None:
        socket = await server.connect()
        large = b'{"event":"call.update","data":{"x":"%b"}}' % (b"x" * 1_000_000)
        response = await publish(server, line(0) + large + b"\n" + line(2))
        assert (response.status, response.json["published"]) == (202, 3)
        assert [len(await socket.text()) > 1_000_000 for _ in range(3)] == [False, True, False]


BAD = {
    "no JSON": (b"hello", "JSON is malformed"),
    "another event": (b'{"event":"x","data":{}}', "Invalid enum value 'x'"),
    "an array": (b"[" + line(1, b"") + b"]", "Expected `object`, got `array`"),
    "data is no object": (b'{"event":"call.update","data":1}', "`data` must be an object"),
    "two on a line": (line(1, b"") + line(2, b""), "trailing characters"),
    "one on two lines": (b'{"event":\n"call.update","data":{}}', "truncated"),
    "a byte order mark": (b"\xef\xbb\xbf" + line(1, b""), "a byte order mark is no JSON"),
    "not UTF-8": (b'{"event":"call.update","data":{"a":"\xff"}}', "can't decode byte 0xff"),
    "an endless reason": (b'{"event":"%b"}' % (b"x" * 10_000), "Invalid enum value 'xxx"),
}


class TestBadLines:
    @pytest.mark.parametrize("what", BAD)
    @pytest.mark.parametrize("size", [0, 1000])
    async def test_invalid_line_is_a_400_and_earlier_events_stay_published(
        self, server: Server, demo: str, what: str, size: int
    ) -> None:
        bad, reason = BAD[what]
        socket = await server.connect()
        response = await publish(server, line(1) + b"\r\n" + line(2) + bad + b"\n" + line(5), size)
        status, message = response.error
        assert status == 400
        assert message.startswith("Invalid request body: line 4: ")
        assert reason in message
        assert message.endswith("; 2 published")
        assert len(message) < 300
        assert [await socket.data() for _ in range(2)] == [{"n": 1}, {"n": 2}]
        assert await socket.is_silent()

    async def test_error_names_the_first_invalid_line(self, server: Server, demo: str) -> None:
        response = await publish(server, b"x\n" + line(1) + b"y\n")
        assert response.error[1].startswith("Invalid request body: line 1: ")
        assert response.error[1].endswith("; 0 published")

    async def test_body_cut_inside_a_character_is_a_400(self, server: Server, demo: str) -> None:
        cut = '{"event":"call.update","data":{"a":"é'.encode()[:-1]
        status, message = (await publish(server, line(1) + cut)).error
        assert status == 400
        assert message.startswith("Invalid request body: line 2: ")
        assert message.endswith("unexpected end of data; 1 published")

    async def test_response_does_not_wait_for_the_end_of_the_body(
        self, server: Server, demo: str
    ) -> None:
        client = await open_stream(server, line(1) + b"x\n" + line(3))
        assert (await client.read_response()).error[0] == 400

    async def test_content_encoding_is_a_400(self, server: Server, demo: str) -> None:
        response = await publish(server, line(1), **{"Content-Encoding": "gzip"})
        reason = "Invalid request body: a Content-Encoding is not supported; 0 published"
        assert response.error == (400, reason)
        response = await publish(server, line(1), **{"Content-Encoding": "identity"})
        assert response.status == 202


class TestSize:
    async def at(self, start_server: StartServer, size: int, end: bytes) -> Response:
        server = await start_server(max_body_bytes=100)
        await server.create()
        head, tail = b'{"event":"call.update","data":{"x":"', b'"}}'
        text = head + b"x" * (size - len(head) - len(tail)) + tail
        return await publish(server, line(1) + text + end, 70)

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
    async def test_line_of_the_largest_size_is_published(
        self, start_server: StartServer, end: bytes
    ) -> None:
        assert (await self.at(start_server, 100, end)).status == 202

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
    async def test_line_over_the_largest_size_is_a_413(
        self, start_server: StartServer, end: bytes
    ) -> None:
        response = await self.at(start_server, 101, end)
        assert response.error == (413, "Request body too large: line 2; 1 published")

    async def test_line_without_end_is_a_413_at_once(self, start_server: StartServer) -> None:
        server = await start_server(max_body_bytes=100)
        await server.create()
        client = await open_stream(server, line(1) + b"x" * 101)
        response = await client.read_response()
        assert response.error == (413, "Request body too large: line 2; 1 published")


class TestEnds:
    """Streams that end before their body does."""

    async def test_stalled_stream_is_a_408(
        self, server: Server, demo: str, mock_clock: MockClock
    ) -> None:
        client = await open_stream(server, line(1) + b'{"event"')
        await wait_all_tasks_blocked()
        mock_clock.jump(59)
        await client.send(piece(b":"))
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        assert (await client.read_response()).error == (408, "Request timeout; 1 published")

    @pytest.mark.parametrize("sign_of_life", [b"\n", line(2)], ids=["blank", "event"])
    async def test_each_line_extends_the_deadline(
        self, server: Server, demo: str, mock_clock: MockClock, sign_of_life: bytes
    ) -> None:
        client = await open_stream(server, line(1))
        for _ in range(5):
            await wait_all_tasks_blocked()
            mock_clock.jump(59)
            await client.send(piece(sign_of_life))
        await wait_all_tasks_blocked()
        await client.send(END)
        assert (await client.read_response()).status == 202

    @pytest.mark.parametrize("resets", [False, True])
    async def test_complete_lines_of_a_lost_connection_are_published(
        self, server: Server, demo: str, resets: bool
    ) -> None:
        socket = await server.connect()
        # More than one piece, and a last line that is incomplete.
        count = 5000
        body = lines(*range(count)) + line(count, b"")
        client = await server.open()
        await client.send(HEAD + chunked(body, 1000)[: -len(END)])
        if resets:
            await client.stream.aclose()
        else:
            await client.stream.send_eof()  # type: ignore[attr-defined]
        for n in range(count):
            assert await socket.data() == {"n": n}
        await until(lambda: not server.http_connections())
        assert await socket.is_silent()

    async def test_drain_ends_a_stream_with_a_503(self, server: Server, demo: str) -> None:
        client = await open_stream(server, line(1))
        await wait_all_tasks_blocked()
        server.stop.set()
        response = await client.read_response()
        assert response.error == (503, "Server is shutting down; 1 published")
        await client.stream.aclose()
        await server.finished.wait()

    async def test_drain_ends_a_stream_that_never_pauses(
        self, server: Server, demo: str, nursery: trio.Nursery
    ) -> None:
        client = await open_stream(server, line(1))

        async def send() -> None:
            while True:
                await client.send(piece(lines(*range(1000))))

        async with trio.open_nursery() as sending:
            sending.start_soon(send)
            await until(lambda: not server.services.streams._waiting)
            server.stop.set()
            assert (await client.read_response()).error[0] == 503
            sending.cancel_scope.cancel()

    async def test_deleting_the_instance_ends_the_stream_with_a_404(
        self, server: Server, demo: str
    ) -> None:
        client = await open_stream(server, line(1))
        await wait_all_tasks_blocked()
        await server.request("DELETE", "/api/instance/delete/demo")
        await client.send(piece(line(2)))
        assert (await client.read_response()).error == (404, "Instance not found; 1 published")

    async def test_void_token_ends_the_stream_with_a_401(self, server: Server, demo: str) -> None:
        client = await server.open()
        head = request_bytes("POST", PUBLISH, {**CHUNKED, "token": demo})
        await client.send(head + piece(line(1)))
        await wait_all_tasks_blocked()
        await server.request("DELETE", "/api/instance/delete/demo")
        await server.create()
        await client.send(piece(line(2)))
        assert (await client.read_response()).error == (401, "Invalid token; 1 published")

    async def test_new_instance_of_the_same_name_does_not_continue_the_stream(
        self, server: Server, demo: str
    ) -> None:
        client = await open_stream(server, line(1))
        await wait_all_tasks_blocked()
        await server.request("DELETE", "/api/instance/delete/demo")
        await server.create()
        await client.send(piece(line(2)))
        assert (await client.read_response()).error == (404, "Instance not found; 1 published")

    async def test_blank_lines_do_not_keep_the_stream_of_a_void_token(
        self, server: Server, demo: str
    ) -> None:
        client = await server.open()
        head = request_bytes("POST", PUBLISH, {**CHUNKED, "token": demo})
        await client.send(head + piece(line(1)))
        await wait_all_tasks_blocked()
        assert (await server.request("POST", "/api/instance/token/demo")).status == 200
        await client.send(piece(b"\n"))
        assert (await client.read_response()).error == (401, "Invalid token; 1 published")

    async def test_received_bytes_are_returned_after_the_end(self) -> None:
        drain = DrainFlag()
        streams, body = Streams(drain), StreamedBody()
        body.feed(b"x", is_last=False)
        drain.begin()
        streams.end()
        assert await streams.receive(body, math.inf) == b"x"
        with pytest.raises(ApiError, match="503 Server is shutting down"):
            await streams.receive(body, math.inf)
        assert not streams._waiting


class Hold:
    """Holds back every publication until it is released, like a busy hub."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.released = trio.Event()
        # Per publication: the body of its request, and the number of events.
        self.held: list[tuple[Any, int]] = []
        self._publish = server.services.publisher.publish
        monkeypatch.setattr(server.services.publisher, "publish", self._publish_later)

    async def _publish_later(self, instance: Instance, events: Sequence[Event]) -> int:
        self.held.append((quart.request.body, len(events)))
        await self.released.wait()
        return await self._publish(instance, events)


@pytest.fixture
def hold(server: Server, demo: str, monkeypatch: pytest.MonkeyPatch) -> Hold:
    return Hold(server, monkeypatch)


class Flood:
    """Sends a stream of 20 MB, more than the buffers of the kernel hold."""

    LINES = 20_000

    def __init__(self, nursery: trio.Nursery, client: RawClient) -> None:
        self.is_sent = False
        nursery.start_soon(self._send, client)

    async def _send(self, client: RawClient) -> None:
        wide = b'{"event":"call.update","data":{"x":"%b"}}\n' % (b"x" * 1000)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for _ in range(0, self.LINES, 100):
                await client.send(piece(wide * 100))
            await client.send(END)
            self.is_sent = True


class TestBackPressure:
    async def test_busy_hub_stops_reading_from_the_socket(
        self, server: Server, hold: Hold, nursery: trio.Nursery
    ) -> None:
        client = await open_stream(server)
        flood = Flood(nursery, client)
        await wait_all_tasks_blocked(0.01)
        ((body, events),) = hold.held
        # The buffer, and one piece more.
        assert len(body._data) <= 2 * 64 * 1024
        assert events <= 2 * 64
        assert not flood.is_sent
        hold.released.set()
        response = await client.read_response()
        assert (response.status, response.json["published"]) == (202, flood.LINES)

    async def test_bytes_after_an_invalid_line_do_not_delay_the_response(
        self, server: Server, hold: Hold, nursery: trio.Nursery
    ) -> None:
        client = await open_stream(server, line(1) + b"x\n")
        Flood(nursery, client)
        await wait_all_tasks_blocked(0.01)
        hold.released.set()
        assert (await client.read_response()).error[0] == 400
        await client.stream.aclose()
        await until(lambda: not server.http_connections())

    async def test_lines_received_while_the_hub_is_busy_survive_a_lost_connection(
        self, server: Server, hold: Hold
    ) -> None:
        socket = await server.connect()
        client = await open_stream(server, line(1))
        await until(lambda: bool(hold.held))
        await client.send(piece(line(2) + line(3) + line(4, b"")))
        await client.stream.aclose()
        await wait_all_tasks_blocked()
        hold.released.set()
        assert [await socket.data() for _ in range(3)] == [{"n": n} for n in (1, 2, 3)]
        await until(lambda: not server.http_connections())
        assert await socket.is_silent()

    async def test_many_small_pieces_are_read_together(self, server: Server, demo: str) -> None:
        response = await publish(server, lines(*range(300)), 3)
        assert (response.status, response.json["published"]) == (202, 300)


class TestUnreadBodies:
    """The rest of a body has no reader once the response is sent."""

    @pytest.mark.parametrize(
        ("path", "token", "status"),
        [
            (PUBLISH, "wrong", 401),
            (PUBLISH + "x", ACCOUNT_TOKEN, 404),
            ("/nowhere", ACCOUNT_TOKEN, 404),
            ("/api/instance/new", ACCOUNT_TOKEN, 400),
        ],
    )
    async def test_unread_body_is_discarded(
        self,
        server: Server,
        demo: str,
        mock_clock: MockClock,
        path: str,
        token: str,
        status: int,
    ) -> None:
        body = chunked(b"x" * 8_000_000, 50_000)
        client = await server.open()
        await client.send(request_bytes("POST", path, {**CHUNKED, "token": token}, body))
        assert (await client.read_response()).error[0] == status
        await client.stream.send_eof()  # type: ignore[attr-defined]
        assert await client.rest() == b""
