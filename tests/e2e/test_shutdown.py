"""SIGTERM drains; after SIGKILL all stored data is still there."""

import asyncio
from contextlib import AsyncExitStack, ExitStack, closing

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .clients import RawClient, WebsocketsClient, connect_arguments
from .conftest import StartServer
from .harness import TIMEOUT_SECONDS, Server, wait_until

# Fewer than 256 messages, so that no client is evicted, and more bytes than socket buffers hold.
LARGE_EVENTS = 200
LARGE = {"event": "call.update", "data": {"padding": "x" * 65536}}


def connect_slow_clients(server: Server, token: str, count: int, stack: ExitStack) -> None:
    """Connect clients that never read, with more pending than their socket buffers take."""
    target = connect_arguments(server.url, "slow", token)
    for _ in range(count):
        stack.enter_context(closing(RawClient(*target, receive_buffer=4096)))
    for _ in range(LARGE_EVENTS):
        assert server.publish("slow", LARGE) == count


def test_sigterm_with_ninety_reading_and_ten_slow_clients(
    start_server: StartServer,
) -> None:
    server = start_server(global_rate_limit="")
    slow, fast = server.create_instance("slow"), server.create_instance("fast")
    with ExitStack() as stack:
        connect_slow_clients(server, slow, 10, stack)
        ends = asyncio.run(drain_and_collect_closes(server, fast, 90))
        assert ends == [(1012, "restarting")] * 90
        assert server.process.wait(TIMEOUT_SECONDS) == 0
    assert server.logged("stopped")


async def drain_and_collect_closes(server: Server, token: str, count: int) -> list[tuple[int, str]]:
    """Connect clients that read, send SIGTERM, wait for the exit; the close of each client."""
    target, headers = connect_arguments(server.url, "fast", token)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                connect(
                    target, additional_headers=headers, proxy=None, open_timeout=TIMEOUT_SECONDS
                )
            )
            for _ in range(count)
        ]
        server.terminate()
        ends = [await wait_closed(client) for client in clients]
        await asyncio.to_thread(server.process.wait, TIMEOUT_SECONDS)
        return ends


async def wait_closed(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as ended:
        await client.recv()
    frame = ended.value.rcvd
    assert frame is not None, "no close frame came"
    return frame.code, frame.reason


def test_second_sigterm_exits_at_once(start_server: StartServer) -> None:
    server = start_server(drain_seconds=10 * TIMEOUT_SECONDS, global_rate_limit="")
    token = server.create_instance("slow")
    with ExitStack() as stack:
        connect_slow_clients(server, token, 1, stack)
        server.terminate()
        wait_until(lambda: server.logged("stopping"), "the server logs that it stops")
        server.terminate()
        # Far less than the drain time.
        assert server.process.wait(TIMEOUT_SECONDS) == 1


def test_stored_data_survives_sigkill(start_server: StartServer) -> None:
    first = start_server()
    narrow = {"enabled": True, "events": ["call.update", "label.update"], "mediaBase64": True}
    tokens = {name: first.create_instance(name) for name in ("narrow", "off", "never")}
    assert first.request("POST", "/api/events/websocket/narrow", narrow)[0] == 200
    assert first.request("POST", "/api/events/websocket/off", {"enabled": False})[0] == 200
    first.kill()

    second = start_server()
    assert second.account_token == "", "a second account was created"
    second.account_token = first.account_token
    second.secrets |= first.secrets
    _, listed = second.request("GET", "/api/instance/list")
    assert {each["name"] for each in listed["instances"]} == set(tokens)
    for name, token in tokens.items():
        _, mine = second.request("GET", "/api/instance/list", token=token)
        assert [each["name"] for each in mine["instances"]] == [name]
    assert stored_config(second, "narrow") == narrow
    assert stored_config(second, "off") == {"enabled": False, "events": [], "mediaBase64": False}
    with closing(
        WebsocketsClient(*connect_arguments(second.url, "narrow", tokens["narrow"]))
    ) as client:
        assert second.publish("narrow", {"event": "call.update", "data": {}}) == 1
        assert tokens["narrow"] in client.receive()


def stored_config(server: Server, name: str) -> object:
    return server.request("GET", f"/api/events/getWebsocket/{name}")[1]["websocket"]
