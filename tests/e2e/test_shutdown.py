"""``kill -TERM`` sees everybody off; after ``kill -9`` everything is still there."""

import asyncio
from contextlib import AsyncExitStack, ExitStack, closing

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .clients import RawClient, WebsocketsClient, address
from .conftest import StartServer
from .harness import CAP, Server, wait_until

# Under 256 messages, so that nobody is dropped, and over what socket buffers can hold.
LARGE_EVENTS = 200
LARGE = {"event": "call.update", "data": {"padding": "x" * 65536}}


def let_clients_lag(server: Server, token: str, count: int, stack: ExitStack) -> None:
    """Connect so many clients that never read, with more pending than their sockets take."""
    target = address(server.url, "stuck", token)
    for _ in range(count):
        stack.enter_context(closing(RawClient(*target, receive_buffer=4096)))
    for _ in range(LARGE_EVENTS):
        assert server.publish("stuck", LARGE) == count


def test_sigterm_with_a_hundred_clients_of_which_ten_do_not_read(
    start_server: StartServer,
) -> None:
    server = start_server(global_rate_limit="")
    stuck, fine = server.create_instance("stuck"), server.create_instance("fine")
    with ExitStack() as stack:
        let_clients_lag(server, stuck, 10, stack)
        farewells = asyncio.run(see_farewells(server, fine, 90))
        assert farewells == [(1012, "restarting")] * 90
        assert server.process.wait(CAP) == 0
    assert server.logged("stopped")


async def see_farewells(server: Server, token: str, count: int) -> list[tuple[int, str]]:
    """Connect clients that read, terminate the server, and wait for its end; how each ended."""
    target, headers = address(server.url, "fine", token)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                connect(target, additional_headers=headers, proxy=None, open_timeout=CAP)
            )
            for _ in range(count)
        ]
        server.terminate()
        ends = [await farewell(client) for client in clients]
        await asyncio.to_thread(server.process.wait, CAP)
        return ends


async def farewell(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as ended:
        await client.recv()
    frame = ended.value.rcvd
    assert frame is not None, "a close frame came"
    return frame.code, frame.reason


def test_a_second_sigterm_ends_it_at_once(start_server: StartServer) -> None:
    server = start_server(drain_seconds=10 * CAP, global_rate_limit="")
    token = server.create_instance("stuck")
    with ExitStack() as stack:
        let_clients_lag(server, token, 1, stack)
        server.terminate()
        wait_until(lambda: server.logged("stopping"), "stopping")
        server.terminate()
        # Far less than the drain.
        assert server.process.wait(CAP) == 1


def test_everything_is_there_after_kill_9(start_server: StartServer) -> None:
    first = start_server()
    narrow = {"enabled": True, "events": ["call.update", "label.update"], "mediaBase64": True}
    tokens = {name: first.create_instance(name) for name in ("narrow", "off", "never")}
    assert first.request("POST", "/api/events/websocket/narrow", narrow)[0] == 200
    assert first.request("POST", "/api/events/websocket/off", {"enabled": False})[0] == 200
    first.kill()

    second = start_server()
    assert second.account_token == "", "no second account was made"
    second.account_token = first.account_token
    second.secrets |= first.secrets
    _, listed = second.request("GET", "/api/instance/list")
    assert {each["name"] for each in listed["instances"]} == set(tokens)
    for name, token in tokens.items():
        _, mine = second.request("GET", "/api/instance/list", token=token)
        assert [each["name"] for each in mine["instances"]] == [name]
    assert stored(second, "narrow") == narrow
    assert stored(second, "off") == {"enabled": False, "events": [], "mediaBase64": False}
    with closing(WebsocketsClient(*address(second.url, "narrow", tokens["narrow"]))) as client:
        assert second.publish("narrow", {"event": "call.update", "data": {}}) == 1
        assert tokens["narrow"] in client.receive()


def stored(server: Server, name: str) -> object:
    return server.request("GET", f"/api/events/getWebsocket/{name}")[1]["websocket"]
