"""Publish over HTTP: accepted and refused bodies, and the frames of subscribers."""

import base64
import json
from typing import Any

import pytest

from ryze.events.event import EVENT_TYPES
from tests.clients import Response, WebSocketClient, chunked, request_bytes
from tests.conftest import ACCOUNT_TOKEN, JSON, Server, StartServer

PUBLISH = "/api/events/publish/demo"

# Unusual but valid JSON, to be passed on unchanged.
UGLY = (
    '{ "b" :1,"a":\t1.0,"b":2 ,"big":123456789012345678901234567890,"e":1E+2,'
    '"text":"\\u00e9\\/é\\ud83d\\ude00 \U0001f600 \u2028","nested":[[],{},[{"x":null}]]\r\n}'
)


async def post(server: Server, body: bytes | str) -> Response:
    data = body.encode() if isinstance(body, str) else body
    return await server.request("POST", PUBLISH, body=data)


async def raw_data(socket: WebSocketClient) -> str:
    """Return the bytes between `data` and `instanceData` in the next frame."""
    text = await socket.text()
    assert text.startswith('{"event":"')
    return text.partition(',"data":')[2].rpartition(',"instanceData":{')[0]


async def test_response_to_the_byte(server: Server, demo: str) -> None:
    response = await server.publish()
    assert response.status == 202
    assert response.headers["content-type"] == "application/json"
    assert response.body == (
        b'{"success":true,"message":"Event published","published":1,"clients":0}'
    )
    sockets = [await server.connect() for _ in range(3)]
    assert (await server.publish({"n": 1})).json["clients"] == 3
    for socket in sockets:
        assert await socket.data() == {"n": 1}


async def test_frame_to_the_byte(server: Server, demo: str) -> None:
    socket = await server.connect(headers={"token": demo})
    await server.publish({"n": 1}, event="call.update")
    assert await socket.text() == (
        '{"event":"call.update","data":{"n": 1},"instanceData":'
        f'{{"baseUrl":"{server.settings.base_url}","instance":"demo","token":"{demo}"}}}}'
    )


@pytest.mark.parametrize("event", EVENT_TYPES)
async def test_each_event_type_is_delivered(server: Server, demo: str, event: str) -> None:
    socket = await server.connect()
    assert (await server.publish(event=event)).status == 202
    assert (await socket.document())["event"] == event


async def test_data_is_passed_on_byte_for_byte(server: Server, demo: str) -> None:
    socket = await server.connect()
    response = await post(server, f' {{ "data" : {UGLY} , "event":"group.flow","more":[1] }} ')
    assert response.status == 202
    assert await raw_data(socket) == UGLY


async def test_array_is_published_in_order(server: Server, demo: str) -> None:
    socket = await server.connect()
    events = [{"event": EVENT_TYPES[n % 6], "data": {"n": n}} for n in range(200)]
    response = await post(server, json.dumps(events))
    assert response.json == {
        "success": True,
        "message": "Event published",
        "published": 200,
        "clients": 1,
    }
    assert [await socket.data() for _ in range(200)] == [{"n": n} for n in range(200)]


async def test_empty_array_publishes_nothing(server: Server, demo: str) -> None:
    socket = await server.connect()
    response = await post(server, " [ ] ")
    assert (response.status, response.json["published"], response.json["clients"]) == (202, 0, 0)
    assert await socket.is_silent()


async def test_clients_counts_receivers_of_the_last_event(server: Server, demo: str) -> None:
    await server.configure(enabled=True, events=["call.update"])
    socket = await server.connect()
    wanted = {"event": "call.update", "data": {"n": 1}}
    filtered = {"event": "group.flow", "data": {"n": 2}}
    assert (await post(server, json.dumps([wanted, filtered]))).json["clients"] == 0
    assert (await post(server, json.dumps([filtered, wanted]))).json["clients"] == 1
    assert [await socket.data(), await socket.data()] == [{"n": 1}] * 2
    assert await socket.is_silent()


@pytest.mark.parametrize(
    "wrong",
    [
        "{}",
        '{"event":"call.update"}',
        '{"data":{}}',
        '{"event":"call.updated","data":{}}',
        '{"event":"","data":{}}',
        '{"event":null,"data":{}}',
        '{"event":1,"data":{}}',
        '{"event":["call.update"],"data":{}}',
        '{"Event":"call.update","data":{}}',
        *(
            f'{{"event":"call.update","data":{data}}}'
            for data in ("null", "[]", '"{}"', "1", "true", "{", "{]", '{"a"}', "{'a':1}", "{,}")
        ),
        '[{"event":"call.update","data":{}}]',
        "null",
        '"event"',
        "",
    ],
)
async def test_invalid_event_is_a_400_alone_and_in_an_array(
    server: Server, demo: str, wrong: str
) -> None:
    socket = await server.connect()
    good = '{"event":"call.update","data":{}}'
    bodies = [wrong, f"[{wrong}]", f"[{good},{wrong}]", f"[{wrong},{good}]", f"[{good},{good}"]
    for body in bodies:
        # An array of one good event is none inside of another array only.
        if body == f"[{good}]" or body == "[]":
            continue
        response = await post(server, body)
        assert response.error == (400, "Invalid request body"), body
    assert await socket.is_silent()


@pytest.mark.parametrize("where", ["media", "message.media"])
@pytest.mark.parametrize("wanted", [True, False])
async def test_media_is_delivered_if_configured(
    server: Server, demo: str, where: str, wanted: bool
) -> None:
    await server.configure(enabled=True, mediaBase64=wanted)
    socket = await server.connect()
    inner = '{"media": {"mime":"a/b" , "base64": "QUJD", "size":3}, "x":{"base64":1}}'
    without = '{"media": {"mime":"a/b" , "size":3}, "x":{"base64":1}}'
    if where == "message.media":
        inner, without = f'{{ "message":{inner} }}', f'{{ "message":{without} }}'
    await post(server, f'{{"event":"message.exchange","data":{inner}}}')
    assert await raw_data(socket) == (inner if wanted else without)


FILE = bytes(range(256))


def form_of(file: bytes) -> bytes:
    event = b'{"event":"message.exchange","data":{"message":{"media":{"x":1}}}}'
    return (
        b'--b\r\nContent-Disposition: form-data; name="media"; filename="f"\r\n\r\n%b\r\n'
        b'--b\r\nContent-Disposition: form-data; name="event"\r\n\r\n%b\r\n--b--\r\n'
    ) % (file, event)


async def post_form(server: Server, body: bytes, boundary: str = "; boundary=b") -> Response:
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    return await server.request("POST", PUBLISH, body=body, headers=headers)


class TestForm:
    @pytest.mark.parametrize("file", [FILE, FILE * 4000], ids=["small", "a megabyte"])
    async def test_file_is_delivered_as_base64(
        self, server: Server, demo: str, file: bytes
    ) -> None:
        await server.configure(enabled=True, mediaBase64=True)
        socket = await server.connect()
        response = await post_form(server, form_of(file))
        assert response.json == {
            "success": True,
            "message": "Event published",
            "published": 1,
            "clients": 1,
        }
        media = (await socket.data())["message"]["media"]
        assert base64.b64decode(media.pop("base64"), validate=True) == file
        assert media == {"x": 1}

    async def test_file_is_removed_if_media_is_not_configured(
        self, server: Server, demo: str
    ) -> None:
        socket = await server.connect()
        await post_form(server, form_of(FILE))
        assert await raw_data(socket) == '{"message":{"media":{"x":1}}}'

    @pytest.mark.parametrize("file", [FILE, FILE * 4000], ids=["small", "a megabyte"])
    async def test_invalid_form_is_a_400_with_the_reason(
        self, server: Server, demo: str, file: bytes
    ) -> None:
        response = await post_form(server, form_of(file)[:-10])
        reason = "not a form that comes to its end; is the boundary right?"
        assert response.error == (400, f"Invalid request body: {reason}")
        response = await post_form(server, form_of(file), "")
        reason = "the Content-Type names no boundary"
        assert response.error == (400, f"Invalid request body: {reason}")

    async def test_form_over_the_largest_body_is_a_413(self, start_server: StartServer) -> None:
        server = await start_server(max_body_bytes=len(form_of(FILE)))
        await server.create()
        assert (await post_form(server, form_of(FILE))).status == 202
        response = await post_form(server, form_of(FILE + b"x"))
        assert response.error == (413, "Request body too large")


async def test_media_over_the_largest_frame_is_omitted(start_server: StartServer) -> None:
    server = await start_server(max_frame_bytes=1000)
    await server.create(websocketMediaBase64=True)
    socket = await server.connect()
    for size, expected in ((8, "AAAAAAAA"), (1000, None)):
        await server.publish({"media": {"base64": "A" * size}})
        media = {"base64": expected} if expected else {"base64Omitted": "too_large"}
        assert await socket.data() == {"media": media}


def body_of(size: int) -> bytes:
    head, tail = b'{"event":"call.update","data":{"x":"', b'"}}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


@pytest.fixture
async def small(start_server: StartServer) -> Server:
    server = await start_server(max_body_bytes=1000)
    await server.create()
    return server


class TestSize:
    async def test_body_of_the_largest_size_is_published(self, small: Server) -> None:
        socket = await small.connect()
        assert (await post(small, body_of(1000))).status == 202
        assert len(await raw_data(socket)) > 900

    async def test_body_over_the_largest_size_is_a_413(self, small: Server) -> None:
        socket = await small.connect()
        assert (await post(small, body_of(1001))).error == (413, "Request body too large")
        assert await socket.is_silent()

    @pytest.mark.parametrize("piece", [1, 7, 100, 5000])
    async def test_chunked_bodies_have_the_same_limit(self, small: Server, piece: int) -> None:
        headers = {**JSON, "token": ACCOUNT_TOKEN, "Transfer-Encoding": "chunked"}
        fits = request_bytes("POST", PUBLISH, headers, chunked(body_of(1000), piece))
        assert (await small.raw(fits)).status == 202
        over = request_bytes("POST", PUBLISH, headers, chunked(body_of(1001), piece))
        assert (await small.raw(over)).error == (413, "Request body too large")

    @pytest.mark.parametrize("path", ["/api/instance/new", "/api/events/websocket/demo", PUBLISH])
    async def test_every_route_has_the_limit(self, small: Server, path: str) -> None:
        response = await small.request("POST", path, body=b" " * 1001)
        assert response.error == (413, "Request body too large")
        assert (await small.request("POST", path, body=b" " * 1000)).error[0] == 400

    async def test_token_and_instance_are_checked_before_the_size(self, small: Server) -> None:
        response = await small.request("POST", PUBLISH, body=b" " * 1001, token="wrong")
        assert response.error == (401, "Invalid token")
        response = await small.request("POST", PUBLISH + "x", body=b" " * 1001)
        assert response.error == (404, "Instance not found")


async def test_incomplete_body_is_a_408(start_server: StartServer) -> None:
    # Long enough for the creation on a busy machine: the timeout counts for its body too.
    server = await start_server(body_timeout_seconds=1)
    await server.create()
    for path in (PUBLISH, "/api/events/websocket/demo", "/api/instance/new"):
        headers = {**JSON, "token": ACCOUNT_TOKEN, "Content-Length": "100"}
        response = await server.raw(request_bytes("POST", path, headers, b"{"))
        assert response.error == (408, "Request timeout")


async def test_incomplete_body_of_a_lost_connection_publishes_nothing(
    server: Server, demo: str
) -> None:
    socket = await server.connect()
    body = body_of(100)
    for headers in ({"Content-Length": "101"}, {"Transfer-Encoding": "chunked"}):
        client = await server.open()
        fields = {**JSON, "token": ACCOUNT_TOKEN, **headers}
        data = body if "Content-Length" in headers else chunked(body, 10)[:-5]
        await client.send(request_bytes("POST", PUBLISH, fields, data))
        await client.stream.send_eof()  # type: ignore[attr-defined]
        assert b" 202 " not in await client.rest()
    assert await socket.is_silent()


async def test_event_without_subscribers_is_discarded(server: Server, demo: str) -> None:
    assert (await server.publish({"n": 1})).json["clients"] == 0
    socket = await server.connect()
    assert await socket.is_silent()


async def test_disabled_instance_accepts_events(server: Server) -> None:
    await server.request("POST", "/api/instance/new", json={"name": "demo"})
    response = await server.publish()
    assert (response.status, response.json["published"], response.json["clients"]) == (202, 1, 0)


async def test_instances_are_isolated(server: Server, demo: str) -> None:
    await server.create("other", websocketEvents=["call.update"], websocketMediaBase64=True)
    demos = [await server.connect("demo") for _ in range(3)]
    others = [await server.connect("other") for _ in range(3)]
    media: dict[str, Any] = {"media": {"base64": "AA"}, "n": 0}
    for n in range(4):
        for name in ("demo", "other"):
            event = "call.update" if n % 2 else "group.flow"
            await server.publish({**media, "n": n, "name": name}, name=name, event=event)
    for socket in demos:
        got = [await socket.data() for _ in range(4)]
        assert got == [{"media": {}, "n": n, "name": "demo"} for n in range(4)]
        assert await socket.is_silent()
    for socket in others:
        got = [await socket.data() for _ in range(2)]
        assert got == [{**media, "n": n, "name": "other"} for n in (1, 3)]
        assert await socket.is_silent()
