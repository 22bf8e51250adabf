"""Dispatch of connections: first bytes, deadlines, bugs."""

from collections.abc import MutableMapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.clients import UPGRADE, WebSocketClient, request_bytes
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer

TOKEN = {"token": ACCOUNT_TOKEN}
CONNECT = request_bytes("GET", "/ws/demo", {**TOKEN, **UPGRADE})
HEALTH = request_bytes("GET", "/health")


class TestFirstBytes:
    @pytest.mark.parametrize("data", [CONNECT, HEALTH], ids=["upgrade", "http"])
    async def test_request_in_single_bytes(self, server: Server, demo: str, data: bytes) -> None:
        client = await server.open()
        for byte in data:
            await client.send(bytes([byte]))
            await wait_all_tasks_blocked()
        response = await client.read_response()
        if data is CONNECT:
            ws = WebSocketClient(client, response)
            await server.publish({"n": 1})
            assert await ws.data() == {"n": 1}
        else:
            assert response.status == 200

    @pytest.mark.parametrize("at", range(1, 30))
    async def test_upgrade_split_in_two(self, server: Server, demo: str, at: int) -> None:
        client = await server.open()
        await client.send(CONNECT[:at])
        await wait_all_tasks_blocked()
        await client.send(CONNECT[at:])
        assert (await client.read_response()).status == 101

    @pytest.mark.parametrize(
        ("target", "status"), [("/w", 404), ("/wsx/demo", 404), ("/ws?x", 404), ("/WS/demo", 404)]
    )
    async def test_similar_targets_are_http(
        self, server: Server, demo: str, target: str, status: int
    ) -> None:
        response = await server.try_to_connect(target)
        assert response.error == (status, "Not found")

    @pytest.mark.parametrize(
        "wrong",
        [
            b"GET /ws/demo\r\n\r\n",
            b"GET /ws/demo HTTP/1.1\r\n\r\n",
            b"GET /ws/demo HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            b"GET /ws/d\xe9mo HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /ws/demo HTTP/x\r\nHost: a\r\n\r\n",
            b"GET /ws/\x00\r\n\r\n",
        ],
    )
    async def test_malformed_upgrade_is_a_400(
        self, server: Server, mock_clock: MockClock, wrong: bytes
    ) -> None:
        client = await server.open()
        await client.send(wrong)
        assert (await client.read_response()).error == (400, "Invalid WebSocket handshake")
        assert await client.rest() == b""


class TestDeadlines:
    @pytest.mark.parametrize("sent", [b"", b"G", b"GET /ws"])
    async def test_incomplete_first_bytes_time_out(
        self, server: Server, mock_clock: MockClock, sent: bytes
    ) -> None:
        client = await server.open()
        if sent:
            await client.send(sent)
        await wait_all_tasks_blocked()
        mock_clock.jump(10)
        if sent:
            assert (await client.read_response()).error == (408, "Request timeout")
        assert await client.rest() == b""

    @pytest.mark.parametrize("data", [CONNECT, HEALTH], ids=["upgrade", "http"])
    async def test_slow_bytes_do_not_extend_the_deadline(
        self, server: Server, mock_clock: MockClock, data: bytes
    ) -> None:
        client = await server.open()
        for byte in data[:10]:
            await client.send(bytes([byte]))
            await wait_all_tasks_blocked()
            mock_clock.jump(0.99)
        await wait_all_tasks_blocked()
        mock_clock.jump(0.1)
        assert (await client.read_response()).error == (408, "Request timeout")
        assert await client.rest() == b""

    async def test_deadline_is_a_setting(self, start_server: StartServer) -> None:
        server = await start_server(handshake_timeout_seconds=0.05)
        client = await server.open()
        await client.send(CONNECT[:-2])
        assert (await client.read_response()).error == (408, "Request timeout")
        assert await client.rest() == b""

    async def test_deadline_ends_with_the_request_head(
        self, server: Server, demo: str, mock_clock: MockClock
    ) -> None:
        ws = await server.connect()
        http = await server.open()
        await http.request("GET", "/health")
        await wait_all_tasks_blocked()
        mock_clock.jump(15)
        await server.publish({"n": 1})
        assert await ws.data() == {"n": 1}
        assert (await http.request("GET", "/health")).status == 200

    async def test_refused_peer_that_does_not_close_is_reset_after_the_grace(
        self, server: Server, mock_clock: MockClock
    ) -> None:
        client = await server.open()
        await client.send(CONNECT)
        await client.read_response()
        await wait_all_tasks_blocked()
        mock_clock.jump(2)
        await wait_all_tasks_blocked()
        assert server.websockets.connections == 0
        # The first byte triggers a reset, the second fails with it.
        await client.send(b"x")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await client.send(b"x")


async def test_bug_ends_only_its_connection(
    server: Server, logs: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("ryze.server.dispatcher.RequestParser", crash)
        client = await server.open()
        await client.send(CONNECT)
        assert await client.rest() == b""
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["connection failed"]
    assert (await server.request("GET", "/health")).status == 200


@pytest.mark.parametrize("before", [b"", HEALTH], ids=["fresh", "kept alive"])
async def test_bug_in_the_admission_is_a_500_and_is_logged(
    server: Server,
    demo: str,
    logs: list[MutableMapping[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    before: bytes,
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(server.services.registry, "find", crash)
    client = await server.open()
    await client.send(before + CONNECT)
    if before:
        assert (await client.read_response()).status == 200
    assert (await client.read_response()).error == (500, "Internal server error")
    assert await client.rest() == b""
    lines = [line for line in logs if line["event"] in ("request failed", "refused")]
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("request failed", "error"),
        ("refused", "info"),
    ]
    assert {(line["connection"], line["client"]) for line in lines} == {("ws-1", "127.0.0.1")}
    assert lines[1]["reason"] == "internal_server_error"
