"""Start, start errors, restart and drain of a server."""

import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from quart import Response
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, TextMessage

import ryze.app
from ryze.api.authorization import Scope, requires
from ryze.errors import KeyFileError, SettingsError, StartError
from ryze.settings import Settings
from tests.clients import UPGRADE, RawClient, WebSocketClient, request_bytes
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer, until
from tests.ports import free_ports

TOKEN = {"token": ACCOUNT_TOKEN}
LIST = "/api/instance/list"
CONNECT = request_bytes("GET", "/ws/demo", {**TOKEN, **UPGRADE})
SLOW = {"drain_seconds": 60.0, "close_grace_seconds": 60.0}


async def stop(server: Server) -> None:
    server.stop.set()
    await server.finished.wait()


class TestStart:
    async def test_first_start_creates_an_account_and_prints_the_next_steps(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(account_token="")
        key, steps = server.announced
        assert key.startswith(f"Made an encryption key: {server.settings.data_dir / 'ryze.key'}")
        assert steps.startswith(f"Ryze listens on {server.settings.base_url}\n")
        [export] = [line for line in steps.splitlines() if "export RYZE_URL" in line]
        token = export.rpartition("RYZE_TOKEN=")[2]
        assert f"\n  {token}\n" in steps
        response = await server.request("GET", LIST, token=token)
        assert response.status == 200
        for path in ("ryze.key", "ryze.db"):
            mode = (server.settings.data_dir / path).stat().st_mode
            assert stat.S_IMODE(mode) == 0o600
        await stop(server)
        again = await start_server(account_token="")
        assert again.announced == [f"Ryze listens on {again.settings.base_url}"]
        assert (await again.request("GET", LIST, token=token)).status == 200

    async def test_configured_base_url_is_kept(self, start_server: StartServer) -> None:
        server = await start_server(base_url="https://example.com")
        assert server.announced[-1] == "Ryze listens on https://example.com"


class TestStartErrors:
    async def start(self, settings: Settings) -> None:
        await ryze.app.serve(settings, trio.Event(), announce=lambda _: None)

    async def test_port_in_use(self, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1 port {port}: "):
                await self.start(replace(settings, port=port))

    async def test_address_of_another_machine(self, settings: Settings) -> None:
        with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1 port 0"):
            await self.start(replace(settings, host="192.0.2.1"))

    async def test_wrong_encryption_key(self, server: Server, settings: Settings) -> None:
        await server.create()
        await stop(server)
        with pytest.raises(KeyFileError, match="demo"):
            await self.start(replace(settings, encryption_key="A" * 43 + "="))

    async def test_second_server_on_the_same_database(
        self, server: Server, settings: Settings
    ) -> None:
        with pytest.raises(StartError, match="another ryze serve uses"):
            await self.start(settings)

    async def test_unsupported_database(self, settings: Settings) -> None:
        with pytest.raises(SettingsError, match="RYZE_DATABASE_URL"):
            await self.start(replace(settings, database_url="postgresql://a@b/c"))

    async def test_invalid_certificate(self, settings: Settings, tmp_path: Path) -> None:
        path = tmp_path / "cert.pem"
        path.write_text("no certificate")
        with pytest.raises(StartError, match="RYZE_TLS_CERT and RYZE_TLS_KEY"):
            await self.start(replace(settings, tls_cert=path, tls_key=path))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"host": "192.0.2.1"}, StartError),
        ({"database_url": "postgresql://a@b/c"}, SettingsError),
    ],
    ids=["StartError", "SettingsError"],
)
def test_run_raises_the_error_itself(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    error: type[Exception],
) -> None:
    """Not in an exception group: the command line prints it in one line."""
    monkeypatch.setattr(ryze.app, "configure_logging", lambda *_: None)
    with pytest.raises(error):
        ryze.app.run(replace(settings, **change))


class TestRestart:
    async def test_data_survives_a_cancelled_server(self, start_server: StartServer) -> None:
        server = await start_server()
        token = await server.create(websocketEvents=["call.update"])
        listed = (await server.request("GET", LIST)).body
        server.cancel_scope.cancel()
        await server.finished.wait()
        again = await start_server()
        assert (await again.request("GET", LIST)).body == listed
        assert (await again.connect(headers={"token": token})).response.status == 101


async def stalled_client(server: Server) -> RawClient:
    """Connect a client that reads its 101 and then nothing more."""
    client = await server.open()
    await client.send(CONNECT)
    assert (await client.read_response()).status == 101
    return client


async def receive_until_closed(client: WebSocketClient) -> tuple[int, tuple[int, str | None]]:
    """Count messages until the close frame; return code and reason of the latter, too."""
    messages = 0
    while True:
        event = await client.next_event()
        if isinstance(event, TextMessage):
            messages += event.message_finished
        else:
            assert isinstance(event, CloseConnection)
            if event.code != 1006:
                await client.send(event.response())
            return messages, (event.code, event.reason)


class TestDrain:
    async def test_drain_without_connections_is_immediate(self, start_server: StartServer) -> None:
        server = await start_server(**SLOW)
        await server.create()
        await stop(server)

    async def test_healthy_subscribers_receive_everything_and_1012(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(**SLOW)
        await server.create()
        clients = [await server.connect() for _ in range(5)]
        text = "x" * 100_000
        for _ in range(50):
            await server.publish({"text": text})
        server.stop.set()
        ends: list[object] = []
        async with trio.open_nursery() as nursery:
            for client in clients:

                @nursery.start_soon
                async def _(client: WebSocketClient = client) -> None:
                    ends.append(await receive_until_closed(client))

        await server.finished.wait()
        assert ends == [(50, (1012, "restarting"))] * 5

    async def test_stalled_subscribers_are_aborted_in_time_and_others_are_not(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(drain_seconds=1, close_grace_seconds=60)
        await server.create()
        stuck = [await stalled_client(server) for _ in range(3)]
        healthy = await server.connect()
        counts: list[object] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                counts.append(await receive_until_closed(healthy))

            for _ in range(100):
                await server.publish({"text": "x" * 100_000})
            server.stop.set()
        assert counts == [(100, (1012, "restarting"))]
        await server.finished.wait()
        for client in stuck:
            assert b"\x88\x0c\x03\xf4restarting" not in await client.rest()

    @pytest.mark.parametrize(
        ("drain_seconds", "clients", "cut_after"),
        [
            pytest.param(10, 1, 9, id="a tenth of the time"),
            pytest.param(1, 200, 0.8, id="a millisecond for each"),
            pytest.param(0.2, 200, 0.1, id="never more than half"),
        ],
    )
    async def test_reserve_for_cutting_off_stalled_peers(
        self,
        start_server: StartServer,
        mock_clock: MockClock,
        drain_seconds: float,
        clients: int,
        cut_after: float,
    ) -> None:
        """The drain ends at the time when stalled peers are cut off."""
        server = await start_server(
            drain_seconds=drain_seconds, close_grace_seconds=60, global_rate_limit=None
        )
        await server.create()
        for _ in range(clients):
            await stalled_client(server)
        server.stop.set()
        await wait_all_tasks_blocked()
        mock_clock.jump(0.99 * cut_after)
        await wait_all_tasks_blocked()
        assert server.websockets.connections == clients
        mock_clock.jump(0.011 * cut_after)
        await server.finished.wait()

    async def test_unanswered_close_frame_does_not_delay_the_drain(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(drain_seconds=0.3)
        await server.create()
        client = await server.connect()
        server.stop.set()
        event = await client.next_event()
        assert isinstance(event, CloseConnection)
        assert event.code == 1012
        await server.finished.wait()

    async def test_drain_time_of_zero(self, start_server: StartServer) -> None:
        server = await start_server(drain_seconds=0)
        await server.create()
        await server.connect()
        await stalled_client(server)
        await stop(server)

    async def test_idle_and_silent_http_connections_do_not_delay_the_drain(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(**SLOW)
        idle = await server.open()
        for _ in range(3):
            await idle.request("GET", "/health")
        await server.open()
        await wait_all_tasks_blocked()
        await stop(server)
        assert await idle.rest() == b""

    async def test_request_in_flight_gets_its_response(self, start_server: StartServer) -> None:
        server = await start_server(**SLOW)
        go_on = hold_health(server)
        client = await server.open()
        await client.send(request_bytes("GET", "/health") * 2)
        await wait_all_tasks_blocked()
        server.stop.set()
        await wait_all_tasks_blocked()
        assert not server.finished.is_set()
        go_on.set()
        assert (await client.read_response()).body == b"done"
        # No further request is served on that connection.
        assert await client.rest() in (b"", b"<reset>")
        await server.finished.wait()

    async def test_request_is_cancelled_at_the_deadline(self, start_server: StartServer) -> None:
        server = await start_server(drain_seconds=0.2)
        hold_health(server)
        client = await server.open()
        await client.send(request_bytes("GET", "/health"))
        await wait_all_tasks_blocked()
        await stop(server)
        assert b"200" not in await client.rest()

    @pytest.mark.parametrize("pipelined", [1, 3])
    async def test_unread_response_does_not_delay_beyond_the_drain_time(
        self, start_server: StartServer, pipelined: int
    ) -> None:
        server = await start_server(drain_seconds=0.3)
        replace_health(server, lambda: Response(b"x" * 50_000_000))
        client = await server.open()
        await client.send(request_bytes("GET", "/health") * pipelined)
        await until(lambda: bool(server.http_connections()))
        await wait_all_tasks_blocked()
        await stop(server)

    async def test_new_requests_get_503_during_the_drain(self, start_server: StartServer) -> None:
        server = await start_server(drain_seconds=1, close_grace_seconds=60)
        await server.create()
        stays = await stalled_client(server)
        server.stop.set()
        await until(lambda: server.services.drain.has_begun)
        down = (503, "Server is shutting down")
        refused = await server.try_to_connect()
        assert refused.error == down
        assert refused.rate_limit[0] == 100
        assert (await server.try_to_connect("/ws/nobody")).status == 404
        response = await server.request("GET", LIST)
        assert response.error == down
        assert response.rate_limit[0] == 100
        health = await server.request("GET", "/health")
        assert (health.status, health.json["checks"]["gateway"]) == (503, "draining")
        await server.finished.wait()
        assert await stays.rest()

    async def test_incomplete_requests_do_not_delay_beyond_the_drain_time(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(drain_seconds=0.2)
        for data in (b"G", b"GET /ws/", b"POST /x HTTP/1.1\r\n", CONNECT[:-1]):
            await (await server.open()).send(data)
        await wait_all_tasks_blocked()
        await stop(server)

    async def test_port_is_free_after_the_drain(self, start_server: StartServer) -> None:
        (port,) = free_ports(1)
        await stop(await start_server(port=port))
        again = await start_server(port=port)
        assert (await again.request("GET", "/health")).status == 200


def replace_health(server: Server, make: Callable[[], Response]) -> None:
    @requires(Scope.OPEN)
    async def handler() -> Response:
        return make()

    server.app.view_functions["health.health"] = handler


def hold_health(server: Server) -> trio.Event:
    """Make /health wait for the returned event."""
    go_on = trio.Event()

    @requires(Scope.OPEN)
    async def handler() -> Response:
        await go_on.wait()
        return Response(b"done", content_type="text/plain")

    server.app.view_functions["health.health"] = handler
    return go_on
