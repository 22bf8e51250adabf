"""A server's whole life: its start, what can stop it, and the way it sees everybody off."""

import socket
import stat
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from quart import Response
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, TextMessage

import ryze.app
from ryze.api.authorization import Scope, access
from ryze.errors import KeyFileError, SettingsError, StartError
from ryze.settings import Settings
from ryze.store import (
    hash_token,
    insert_account,
    open_database,
    select_accounts,
    update_account_token,
)
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
    async def test_the_first_one_makes_an_account_and_says_how_to_go_on(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(account_token="")
        key, steps = server.announced
        assert key.startswith(f"Made an encryption key: {server.settings.data_dir / 'ryze.key'}")
        assert steps.startswith(f"Ryze listens on {server.settings.base_url}\n")
        [export] = [line for line in steps.splitlines() if "export RYZE_URL" in line]
        token = export.rpartition("RYZE_TOKEN=")[2]
        assert f"\n  {token}\n" in steps
        answer = await server.request("GET", LIST, token=token)
        assert answer.status == 200
        for path in ("ryze.key", "ryze.db"):
            mode = (server.settings.data_dir / path).stat().st_mode
            assert stat.S_IMODE(mode) == 0o600
        await stop(server)
        again = await start_server(account_token="")
        assert again.announced == [f"Ryze listens on {again.settings.base_url}"]
        assert (await again.request("GET", LIST, token=token)).status == 200

    async def test_a_base_url_that_is_given_stays(self, start_server: StartServer) -> None:
        server = await start_server(base_url="https://example.com")
        assert server.announced[-1] == "Ryze listens on https://example.com"


class TestAccountToken:
    async def accounts(self, server: Server) -> dict[str, str]:
        accounts = await server.services.database.read(select_accounts)
        return {account.name: account.token_hash for account in accounts}

    async def test_it_makes_the_first_account(self, server: Server) -> None:
        assert await self.accounts(server) == {"default": hash_token(ACCOUNT_TOKEN)}
        assert ACCOUNT_TOKEN not in str(server.announced)

    async def test_another_one_takes_its_place(self, server: Server, start_server: Any) -> None:
        await server.create()
        await stop(server)
        again = await start_server(account_token="another-token")
        assert await self.accounts(again) == {"default": hash_token("another-token")}
        assert (await again.request("GET", LIST)).status == 401
        listed = await again.request("GET", LIST, token="another-token")
        assert listed.json["message"] == "1 Instance found"

    async def test_it_comes_back_in_place_of_one_that_was_rotated(
        self, server: Server, start_server: Any, logs: list[MutableMapping[str, Any]]
    ) -> None:
        rotated = hash_token("rotated-token")
        await server.services.database.write(update_account_token, 1, rotated)
        await stop(server)
        assert "account token replaced" not in [line["event"] for line in logs]
        again = await start_server()
        assert await self.accounts(again) == {"default": hash_token(ACCOUNT_TOKEN)}
        assert "account token replaced" in [line["event"] for line in logs]

    async def test_the_same_one_changes_nothing(self, server: Server, start_server: Any) -> None:
        before = await self.accounts(server)
        await stop(server)
        assert await self.accounts(await start_server()) == before

    async def test_of_another_account_it_changes_nothing(
        self, server: Server, start_server: Any
    ) -> None:
        await server.services.database.write(insert_account, "b", hash_token("b-token"))
        before = await self.accounts(server)
        await stop(server)
        assert await self.accounts(await start_server(account_token="b-token")) == before

    async def test_beside_accounts_of_other_names_it_makes_one(
        self, settings: Settings, start_server: StartServer
    ) -> None:
        async with open_database(settings.database_url) as database:
            await database.write(insert_account, "b", hash_token("b-token"))
        server = await start_server()
        assert (await self.accounts(server)).keys() == {"b", "default"}
        await stop(server)
        # Without one, an account that is there is enough.
        again = await start_server(account_token="")
        assert len(await self.accounts(again)) == 2

    async def test_the_token_of_an_instance_is_refused(
        self, server: Server, settings: Settings
    ) -> None:
        token = await server.create()
        await stop(server)
        with pytest.raises(StartError, match="RYZE_ACCOUNT_TOKEN is the token of an instance"):
            await ryze.app.serve(replace(settings, account_token=token), trio.Event())


class TestStartErrors:
    async def start(self, settings: Settings) -> None:
        await ryze.app.serve(settings, trio.Event(), announce=lambda _: None)

    async def test_a_port_that_is_taken(self, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1 port {port}: "):
                await self.start(replace(settings, port=port))

    async def test_a_host_that_is_not_ours(self, settings: Settings) -> None:
        with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1 port 0"):
            await self.start(replace(settings, host="192.0.2.1"))

    async def test_another_key(self, server: Server, settings: Settings) -> None:
        await server.create()
        await stop(server)
        with pytest.raises(KeyFileError, match="demo"):
            await self.start(replace(settings, encryption_key="A" * 43 + "="))

    async def test_a_second_server_on_the_same_file(
        self, server: Server, settings: Settings
    ) -> None:
        with pytest.raises(StartError, match="another ryze serve uses"):
            await self.start(settings)

    async def test_a_database_of_another_kind(self, settings: Settings) -> None:
        with pytest.raises(SettingsError, match="RYZE_DATABASE_URL"):
            await self.start(replace(settings, database_url="postgresql://a@b/c"))

    async def test_a_certificate_that_is_none(self, settings: Settings, tmp_path: Path) -> None:
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
    """Not a group of it: the command line prints it in one line."""
    monkeypatch.setattr(ryze.app, "configure_logging", lambda *_: None)
    with pytest.raises(error):
        ryze.app.run(replace(settings, **change))


class TestRestart:
    async def test_everything_is_there_after_a_cut(self, start_server: StartServer) -> None:
        server = await start_server()
        token = await server.create(websocketEvents=["call.update"])
        listed = (await server.request("GET", LIST)).body
        server.cancel_scope.cancel()
        await server.finished.wait()
        again = await start_server()
        assert (await again.request("GET", LIST)).body == listed
        assert (await again.connect(headers={"token": token})).response.status == 101


async def stuck_client(server: Server) -> RawClient:
    """A client that takes its 101 and then nothing more."""
    client = await server.open()
    await client.send(CONNECT)
    assert (await client.read_response()).status == 101
    return client


async def everything(client: WebSocketClient) -> tuple[int, tuple[int, str | None]]:
    """How many messages come, and the close frame behind them."""
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
    async def test_with_nobody_there_it_is_at_once(self, start_server: StartServer) -> None:
        server = await start_server(**SLOW)
        await server.create()
        await stop(server)

    async def test_healthy_clients_get_everything_and_1012(self, start_server: StartServer) -> None:
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
                    ends.append(await everything(client))

        await server.finished.wait()
        assert ends == [(50, (1012, "restarting"))] * 5

    async def test_stuck_ones_are_cut_in_time_and_the_others_are_not(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(drain_seconds=1, close_grace_seconds=60)
        await server.create()
        stuck = [await stuck_client(server) for _ in range(3)]
        healthy = await server.connect()
        counts: list[object] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                counts.append(await everything(healthy))

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
    async def test_what_is_left_for_leaving(
        self,
        start_server: StartServer,
        mock_clock: MockClock,
        drain_seconds: float,
        clients: int,
        cut_after: float,
    ) -> None:
        """It has ended when time stands where those who do not read are cut off."""
        server = await start_server(
            drain_seconds=drain_seconds, close_grace_seconds=60, global_rate_limit=None
        )
        await server.create()
        for _ in range(clients):
            await stuck_client(server)
        server.stop.set()
        await wait_all_tasks_blocked()
        mock_clock.jump(0.99 * cut_after)
        await wait_all_tasks_blocked()
        assert server.services.websockets.connections == clients
        mock_clock.jump(0.011 * cut_after)
        await server.finished.wait()

    async def test_it_ends_whoever_does_not_answer_the_close(
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

    async def test_drain_seconds_may_be_zero(self, start_server: StartServer) -> None:
        server = await start_server(drain_seconds=0)
        await server.create()
        await server.connect()
        await stuck_client(server)
        await stop(server)

    async def test_idle_and_silent_http_connections_do_not_delay(
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

    async def test_a_request_in_hand_is_answered(self, start_server: StartServer) -> None:
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
        # Nothing more is taken on that connection.
        assert await client.rest() in (b"", b"<reset>")
        await server.finished.wait()

    async def test_a_request_that_takes_too_long_is_cut(self, start_server: StartServer) -> None:
        server = await start_server(drain_seconds=0.2)
        hold_health(server)
        client = await server.open()
        await client.send(request_bytes("GET", "/health"))
        await wait_all_tasks_blocked()
        await stop(server)
        assert b"200" not in await client.rest()

    @pytest.mark.parametrize("pipelined", [1, 3])
    async def test_a_peer_that_does_not_read_its_answer_does_not_delay(
        self, start_server: StartServer, pipelined: int
    ) -> None:
        server = await start_server(drain_seconds=0.3)
        replace_health(server, lambda: Response(b"x" * 50_000_000))
        client = await server.open()
        await client.send(request_bytes("GET", "/health") * pipelined)
        await until(lambda: bool(server.http_connections()))
        await wait_all_tasks_blocked()
        await stop(server)

    async def test_newcomers_are_told(self, start_server: StartServer) -> None:
        server = await start_server(drain_seconds=1, close_grace_seconds=60)
        await server.create()
        stays = await stuck_client(server)
        server.stop.set()
        await until(lambda: server.services.drain.has_begun)
        down = (503, "Server is shutting down")
        refused = await server.try_to_connect()
        assert refused.error == down
        assert refused.rate_limit[0] == 100
        assert (await server.try_to_connect("/ws/nobody")).status == 404
        answer = await server.request("GET", LIST)
        assert answer.error == down
        assert answer.rate_limit[0] == 100
        health = await server.request("GET", "/health")
        assert (health.status, health.json["checks"]["gateway"]) == (503, "draining")
        await server.finished.wait()
        assert await stays.rest()

    async def test_halves_of_requests_do_not_delay_beyond_it(
        self, start_server: StartServer
    ) -> None:
        server = await start_server(drain_seconds=0.2)
        for data in (b"G", b"GET /ws/", b"POST /x HTTP/1.1\r\n", CONNECT[:-1]):
            await (await server.open()).send(data)
        await wait_all_tasks_blocked()
        await stop(server)

    async def test_afterwards_the_port_is_free(self, start_server: StartServer) -> None:
        (port,) = free_ports(1)
        await stop(await start_server(port=port))
        again = await start_server(port=port)
        assert (await again.request("GET", "/health")).status == 200


def replace_health(server: Server, make: Callable[[], Response]) -> None:
    @access(Scope.OPEN)
    async def handler() -> Response:
        return make()

    server.app.view_functions["health.health"] = handler


def hold_health(server: Server) -> trio.Event:
    """From now on /health answers when this event is set."""
    go_on = trio.Event()

    @access(Scope.OPEN)
    async def handler() -> Response:
        await go_on.wait()
        return Response(b"done", content_type="text/plain")

    server.app.view_functions["health.health"] = handler
    return go_on
