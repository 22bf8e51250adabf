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
from ryze.server.http_connections import HttpConnections
from ryze.server.hypercorn_connection import HttpContext
from ryze.settings import Settings
from ryze.websocket.server import WebSocketServer
from tests.clients import UPGRADE, RawClient, Response, WebSocketClient, request_bytes

# Durations mean nothing on a machine with other work.
hypothesis.settings.register_profile(
    "no-deadline",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("no-deadline")

ACCOUNT_TOKEN = "account-token"

JSON = {"Content-Type": "application/json"}


class Server:
    """A running server, with short ways to send it requests."""

    # Filled by `start_server`.
    settings: Settings
    app: QuartTrio
    services: Services
    hub: Hub
    websockets: WebSocketServer
    _dispatcher: Dispatcher

    def __init__(self) -> None:
        self.stop = trio.Event()
        self.finished = trio.Event()
        self.announced: list[str] = []
        self.tls: ssl.SSLContext | None = None
        # Ends the server without a drain.
        self.cancel_scope = trio.CancelScope()
        # All connections to it, closed at the end of the test.
        self._streams: list[trio.abc.Stream] = []

    @property
    def database_path(self) -> Path:
        return Path(self.settings.database_url.removeprefix("sqlite:///"))

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.settings.base_url.partition("://")[2].rpartition(":")
        return host, int(port)

    async def open(self) -> RawClient:
        """Open a connection."""
        host, port = self.address
        stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_hostname=host, https_compatible=True)
        self._streams.append(stream)
        return RawClient(stream)

    @property
    def dispatcher(self) -> Dispatcher:
        return self._dispatcher

    def http_connections(self) -> HttpConnections:
        """The connections that speak HTTP at the moment."""
        return self._dispatcher.http_connections

    def make_room(self) -> None:
        """Evict idle connections as if the server had run out of descriptors."""
        self._dispatcher.make_room()

    async def aclose(self) -> None:
        """End it without a drain, and check that no connection is left."""
        for stream in self._streams:
            await trio.aclose_forcefully(stream)
        self.cancel_scope.cancel()
        await self.finished.wait()
        assert self.websockets.connections == 0
        assert self.hub.outboxes() == []
        assert not self.http_connections()

    async def raw(self, data: bytes, *, has_body: bool = True) -> Response:
        """Send exactly these bytes on a new connection, and read one response."""
        client = await self.open()
        async with client.stream:
            await client.send(data)
            return await client.read_response(has_body=has_body)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        token: str | None = ACCOUNT_TOKEN,
        headers: Mapping[str, str | None] | None = None,
    ) -> Response:
        """Send one request on a new connection, by default with the TokenAccount."""
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
    ) -> Response:
        """Send an upgrade request; a header that is None is left out."""
        fields = {"token": ACCOUNT_TOKEN, **UPGRADE, **(headers or {})}
        given = {name: value for name, value in fields.items() if value is not None}
        return await self.raw(request_bytes("GET", target, given))

    async def connect(
        self, name: str = "demo", headers: Mapping[str, str] | None = None
    ) -> WebSocketClient:
        """Open a WebSocket."""
        client = await self.open()
        fields = {"token": ACCOUNT_TOKEN, **UPGRADE, **(headers or {})}
        return WebSocketClient(client, await client.request("GET", f"/ws/{name}", fields))

    async def create(self, name: str = "demo", **body: object) -> str:
        """Create an instance with its WebSocket enabled; its token."""
        fields = {"name": name, "websocketEnabled": True, **body}
        response = await self.request("POST", "/api/instance/new", json=fields)
        assert response.status == 201, response
        token: str = response.json["data"]["token"]
        return token

    async def configure(self, name: str = "demo", **body: object) -> Response:
        return await self.request("POST", f"/api/events/websocket/{name}", json=body)

    async def publish(
        self, data: object = None, name: str = "demo", event: str = "message.exchange"
    ) -> Response:
        document = {"event": event, "data": {} if data is None else data}
        return await self.request("POST", f"/api/events/publish/{name}", json=document)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the server has made `condition` true; only the test's time limit ends it."""
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
def restore_logging() -> Iterator[None]:
    """Undo the test's changes to the configuration of logging."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log records of the server."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
async def start_server(
    nursery: trio.Nursery,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    logs: list[MutableMapping[str, Any]],
) -> AsyncIterator[StartServer]:
    """Start servers with changed settings; they end with the test."""
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

        def recorded_dispatcher(
            http: HttpContext, websockets: WebSocketServer, *args: Any
        ) -> Dispatcher:
            server.websockets = websockets
            server._dispatcher = Dispatcher(http, websockets, *args)
            return server._dispatcher

        monkeypatch.setattr(ryze.app, "create_app", recorded_app)
        monkeypatch.setattr(ryze.app, "Dispatcher", recorded_dispatcher)
        running: ryze.app.Running = await nursery.start(run)
        server.settings, server.hub = running.settings, running.hub
        server.tls = tls
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.aclose()


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    """A server with default settings and no instance."""
    return await start_server()


@pytest.fixture
async def demo(server: Server) -> str:
    """Create the instance `demo` with its WebSocket enabled, unfiltered; its token."""
    return await server.create()


@pytest.fixture
def hub(nursery: trio.Nursery) -> Hub:
    """A hub whose flush task is running."""
    hub = Hub("http://ryze.test")
    nursery.start_soon(hub.run)
    return hub
