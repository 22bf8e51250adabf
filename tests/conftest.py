"""The real server on a real socket and a real SQLite file, in the test's own nursery."""

import json as jsonlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
import structlog.testing
import trio
from quart_trio import QuartTrio

import ryze.app
from ryze.api.application import create_app
from ryze.api.services import Services
from ryze.hub.hub import Hub
from ryze.server.dispatcher import Dispatcher
from ryze.settings import Settings
from tests.clients import UPGRADE, Answer, RawClient, WebSocketClient, request_bytes

# How long anything takes says nothing on a machine with other work.
hypothesis.settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")

ACCOUNT_TOKEN = "account-token"

JSON = {"Content-Type": "application/json"}


class Server:
    """A server that runs, and the short ways to ask it something."""

    # Filled by `start_server`.
    settings: Settings
    app: QuartTrio
    services: Services
    _door: Dispatcher

    def __init__(self) -> None:
        self.stop = trio.Event()
        self.finished = trio.Event()
        self.announced: list[str] = []
        self.tls: ssl.SSLContext | None = None
        # Ends the server without farewell.
        self.cancel_scope = trio.CancelScope()
        # All connections to it, to be closed with the test.
        self._streams: list[trio.abc.Stream] = []

    @property
    def database_path(self) -> Path:
        return Path(self.settings.database_url.removeprefix("sqlite:///"))

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.settings.base_url.partition("://")[2].rpartition(":")
        return host, int(port)

    async def open(self) -> RawClient:
        """A connection on which nothing has been sent."""
        host, port = self.address
        stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_hostname=host, https_compatible=True)
        self._streams.append(stream)
        return RawClient(stream)

    @property
    def front_door(self) -> Dispatcher:
        return self._door

    def front_door_connections(self) -> set[object]:
        """Those that are HTTP at the moment."""
        return set(self._door._answering)

    def make_room(self) -> None:
        """As if it had no descriptors left."""
        self._door.make_room()

    async def aclose(self) -> None:
        """End it without farewell, and see that nobody is left in it."""
        for stream in self._streams:
            await trio.aclose_forcefully(stream)
        self.cancel_scope.cancel()
        await self.finished.wait()
        assert self.services.websockets.connections == 0
        assert self.services.hub.outboxes() == []
        assert self.front_door_connections() == set()

    async def raw(self, data: bytes, *, has_body: bool = True) -> Answer:
        """Send exactly this on a connection of its own, and read one answer."""
        client = await self.open()
        async with client.stream:
            await client.send(data)
            return await client.answer(has_body=has_body)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        token: str | None = ACCOUNT_TOKEN,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """One request on a connection of its own; with the TokenAccount unless told otherwise."""
        fields: dict[str, str | None] = {"token": token}
        if json is not None:
            body = jsonlib.dumps(json).encode()
        if body is not None:
            fields |= JSON
        fields |= headers or {}
        given = {name: value for name, value in fields.items() if value is not None}
        data = request_bytes(method, path, given, body)
        return await self.raw(data, has_body=method != "HEAD")

    async def try_to_connect(
        self, target: str = "/ws/demo", headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """The answer to an upgrade; a header that is None is left out."""
        fields = {"token": ACCOUNT_TOKEN, **UPGRADE, **(headers or {})}
        given = {name: value for name, value in fields.items() if value is not None}
        return await self.raw(request_bytes("GET", target, given))

    async def connect(
        self, name: str = "demo", headers: Mapping[str, str] | None = None
    ) -> WebSocketClient:
        """A WebSocket that is open."""
        client = await self.open()
        fields = {"token": ACCOUNT_TOKEN, **UPGRADE, **(headers or {})}
        return WebSocketClient(client, await client.request("GET", f"/ws/{name}", fields))

    async def create(self, name: str = "demo", **body: object) -> str:
        """Make an instance with its WebSocket enabled; its token."""
        fields = {"name": name, "websocketEnabled": True, **body}
        answer = await self.request("POST", "/api/instance/new", json=fields)
        assert answer.status == 201, answer
        token: str = answer.json["data"]["token"]
        return token

    async def configure(self, name: str = "demo", **body: object) -> Answer:
        return await self.request("POST", f"/api/events/websocket/{name}", json=body)

    async def publish(
        self, data: object = None, name: str = "demo", event: str = "message.exchange"
    ) -> Answer:
        document = {"event": event, "data": {} if data is None else data}
        return await self.request("POST", f"/api/events/publish/{name}", json=document)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does by itself; the test's own time limit is the only one."""
    while not condition():
        await trio.lowlevel.checkpoint()


StartServer = Callable[..., Awaitable[Server]]


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "connections in tests/hostile/test_masses.py"
    parser.addoption("--come-and-go", type=int, default=2000, help=help)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(port=0, data_dir=tmp_path / "data", account_token=ACCOUNT_TOKEN)


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """For who configures logging: the next test finds it as this one did."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What the server has logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
async def start_server(
    nursery: trio.Nursery,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    logs: list[MutableMapping[str, Any]],
) -> AsyncIterator[StartServer]:
    """Starts a server with these settings changed; ends with the test."""
    servers: list[Server] = []

    async def start(*, tls: ssl.SSLContext | None = None, **changes: Any) -> Server:
        server = Server()

        def recorded_app(services: Services) -> QuartTrio:
            server.services, server.app = services, create_app(services)
            return server.app

        async def run(task_status: trio.TaskStatus[ryze.app.Running]) -> None:
            serve = partial(ryze.app.serve, announce=server.announced.append)
            try:
                with server.cancel_scope:
                    await serve(replace(settings, **changes), server.stop, task_status=task_status)
            finally:
                server.finished.set()

        def front_door(*args: Any) -> Dispatcher:
            server._door = Dispatcher(*args)
            return server._door

        monkeypatch.setattr(ryze.app, "create_app", recorded_app)
        monkeypatch.setattr(ryze.app, "Dispatcher", front_door)
        running: ryze.app.Running = await nursery.start(run)
        server.settings = running.settings
        server.tls = tls
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.aclose()


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    """A server with default settings, and no instance."""
    return await start_server()


@pytest.fixture
async def demo(server: Server) -> str:
    """The token of the instance `demo`, whose WebSocket is enabled for everything."""
    return await server.create()


@pytest.fixture
def hub(nursery: trio.Nursery) -> Hub:
    """A hub that hands out what is published."""
    hub = Hub("http://ryze.test")
    nursery.start_soon(hub.run)
    return hub
