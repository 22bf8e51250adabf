"""Behind nginx and caddy, with the files of docs/deploy: everything works as without them.

Clients connect from 127.0.0.2 and the like: the proxies themselves are at 127.0.0.1, which is
trusted, and who is trusted may say anything.
"""

import contextlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from .conftest import StartServer
from .harness import CAP, Server
from .proxies import Caddy, Nginx, Proxy

StartProxy = Callable[..., Proxy]

# What a client may say of itself, to no avail.
INVENTED = {"X-Forwarded-For": "203.0.113.9, garbage", "X-Forwarded-Proto": "gopher"}

BEHIND = {"trusted_proxies": "127.0.0.1", "global_rate_limit": "", "create_rate_limit": ""}


class Pair(NamedTuple):
    """A server behind a proxy, for all tests that change no settings."""

    server: Server
    proxy: Proxy
    # Of the instance `shop`.
    token: str


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module", params=[Nginx, Caddy], ids=["nginx", "caddy"])
def pair(
    tmp_path_factory: pytest.TempPathFactory,
    authority: trustme.CA,
    request: pytest.FixtureRequest,
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    (folder / "run").mkdir()
    server = Server(folder / "data", folder / "run", **BEHIND)
    with contextlib.ExitStack() as stack:
        stack.callback(server.end)
        proxy = request.param(folder / "proxy", authority.issue_cert("localhost"), server.url)
        stack.callback(proxy.close)
        yield Pair(server, proxy, server.create_instance("shop"))
    assert_no_token(server, proxy)


@pytest.fixture
def start_proxy(tmp_path: Path, authority: trustme.CA) -> Iterator[StartProxy]:
    """Starts a proxy for a server."""
    running: list[tuple[Server, Proxy]] = []

    def start(kind: type[Proxy], server: Server, **changes: Any) -> Proxy:
        folder = tmp_path / kind.__name__
        proxy = kind(folder, authority.issue_cert("localhost"), server.url, **changes)
        running.append((server, proxy))
        return proxy

    yield start
    for server, proxy in running:
        proxy.close()
        assert_no_token(server, proxy)


both = pytest.mark.parametrize("kind", [Nginx, Caddy])


def assert_no_token(server: Server, proxy: Proxy) -> None:
    written = server.log + proxy.logs
    assert not [token for token in server.secrets if token in written], "a token in a log"


def ask(
    proxy: Proxy,
    trust: ssl.SSLContext,
    path: str,
    *,
    source: str = "127.0.0.2",
    headers: dict[str, str] | None = None,
) -> int:
    """The status of a GET on a connection of its own."""
    connection = http.client.HTTPSConnection(
        "localhost", proxy.port, context=trust, source_address=(source, 0), timeout=CAP
    )
    with contextlib.closing(connection):
        connection.request("GET", path, headers=INVENTED | (headers or {}))
        return connection.getresponse().status


def listen(
    proxy: Proxy,
    trust: ssl.SSLContext,
    token: str,
    *,
    source: str = "127.0.0.2",
    target: str = "/ws/shop",
    in_query: bool = False,
    **more: Any,
) -> ClientConnection:
    headers, query = ({}, f"?token={token}") if in_query else ({"token": token}, "")
    return connect(
        f"wss://localhost:{proxy.port}{target}{query}",
        additional_headers=INVENTED | headers,
        ssl=trust,
        address=("::1" if ":" in source else "127.0.0.1", proxy.port),
        source_address=(source, 0),
        proxy=None,
        open_timeout=CAP,
        **more,
    )


def data_of(client: ClientConnection) -> Any:
    """That of the next event."""
    return json.loads(client.recv(CAP))["data"]


def publish(server: Server, data: Any) -> int:
    return server.publish("shop", {"event": "call.update", "data": data})


def test_a_websocket_on_a_connection_that_has_answered_requests(
    pair: Pair, trust: ssl.SSLContext
) -> None:
    server, proxy, token = pair
    source = "127.0.0.5"
    for _ in range(3):
        assert ask(proxy, trust, "/health", source=source) == 200
    with (
        listen(proxy, trust, token, source=source) as one,
        listen(proxy, trust, token, source=source, in_query=True) as two,
    ):
        for data in ({"n": 1}, {"text": "x" * 1_000_000}):
            assert publish(server, data) == 2
            assert data_of(one) == data_of(two) == data
    requests = [line for line in server.logged("request") if line["client"] == source]
    assert [line["scheme"] for line in requests] == ["https"] * 3
    [used] = {line["connection"] for line in requests}
    if isinstance(proxy, Nginx):
        # caddy's WebSockets get connections of their own.
        assert used in [line["connection"] for line in server.logged("becomes a WebSocket")]
    assert [line["client"] for line in server.logged("connected")][-2:] == [source] * 2


def test_producers_too(pair: Pair, trust: ssl.SSLContext) -> None:
    _, proxy, token = pair
    with (
        listen(proxy, trust, token) as client,
        listen(proxy, trust, token, target="/ws/shop/publish") as producer,
    ):
        for n in range(200):
            producer.send(json.dumps({"event": "call.update", "data": {"n": n}}))
        assert [data_of(client)["n"] for _ in range(200)] == list(range(200))


def test_a_stream_of_lines_is_longer_than_any_body(pair: Pair, trust: ssl.SSLContext) -> None:
    _, proxy, token = pair
    line = json.dumps({"event": "call.update", "data": {"text": "x" * 1_000_000}}).encode() + b"\n"
    lines = 2 * 33_554_432 // len(line)
    connection = http.client.HTTPSConnection("localhost", proxy.port, context=trust, timeout=CAP)
    headers = {"Content-Type": "application/x-ndjson", "token": token}
    with contextlib.closing(connection):
        path = "/api/events/publish/shop"
        connection.request("POST", path, (line for _ in range(lines)), headers, encode_chunked=True)
        answer = json.load(connection.getresponse())
    assert answer["published"] == lines


def test_a_page_of_the_same_host_may_connect_and_others_may_not(
    pair: Pair, trust: ssl.SSLContext
) -> None:
    _, proxy, token = pair
    with listen(proxy, trust, token, origin=proxy.url):
        pass
    refused = pytest.raises(InvalidStatus, match="403")
    with refused, listen(proxy, trust, token, origin="https://evil.example"):
        pass


def test_metrics_are_not_for_the_world(pair: Pair, trust: ssl.SSLContext) -> None:
    server, proxy, _ = pair
    for path in ("/metrics", "/metrics?a=b", "//metrics", "/x/../metrics", "/%6detrics"):
        assert ask(proxy, trust, path) == 404
    answered = [line for line in server.logged("request") if line["status"] == 200]
    assert not [line for line in answered if "metrics" in line["target"]]
    assert server.request_text("/metrics")


@both
def test_each_client_has_limits_of_its_own_and_cannot_pass_for_another(
    start_server: StartServer, start_proxy: StartProxy, trust: ssl.SSLContext, kind: type[Proxy]
) -> None:
    server = start_server(trusted_proxies="127.0.0.1", global_rate_limit="1/hour")
    proxy = start_proxy(kind, server)
    for source in ("127.0.0.2", "127.0.0.3"):
        assert ask(proxy, trust, "/api/instance/list", source=source) == 401
        for invented in ("203.0.113.1", "127.0.0.1", "nonsense", "::1"):
            more = {"X-Forwarded-For": invented}
            assert ask(proxy, trust, "/api/instance/list", source=source, headers=more) == 429
    for source, status in (("127.0.0.4", "401"), ("127.0.0.4", "429"), ("::1", "401")):
        refused = pytest.raises(InvalidStatus, match=status)
        with refused, listen(proxy, trust, "wrong-token", source=source):
            pass
    refusals = [(line["client"], line["status"]) for line in server.logged("refused")]
    assert refusals == [("127.0.0.4", 401), ("127.0.0.4", 429), ("::1", 401)]


def test_over_ipv6_to_the_server(
    start_server: StartServer, start_proxy: StartProxy, trust: ssl.SSLContext
) -> None:
    server = start_server(**BEHIND | {"host": "::1", "trusted_proxies": "::1"})
    token = server.create_instance("shop")
    with listen(start_proxy(Nginx, server), trust, token) as client:
        assert publish(server, {"n": 1}) == 1
        assert data_of(client) == {"n": 1}
    assert [line["client"] for line in server.logged("connected")] == ["127.0.0.2"]


@pytest.mark.parametrize("beats", [True, False])
def test_the_heartbeat_outlives_the_read_timeout_of_nginx(
    start_server: StartServer, start_proxy: StartProxy, trust: ssl.SSLContext, beats: bool
) -> None:
    """Pings every 0.2 s keep up a connection that may be silent for 1 s; without them it ends."""
    server = start_server(**BEHIND, **({"ping_interval_seconds": 0.2} if beats else {}))
    token = server.create_instance("shop")
    proxy = start_proxy(Nginx, server, read_timeout="1s")
    with listen(proxy, trust, token, ping_interval=None) as client:
        if beats:
            with pytest.raises(TimeoutError):
                client.recv(2.5)
            assert publish(server, {"n": 1}) == 1
            assert data_of(client) == {"n": 1}
        else:
            with pytest.raises(ConnectionClosed):
                client.recv(CAP)


@both
def test_a_restart_is_told_to_clients_behind_a_proxy(
    start_server: StartServer, start_proxy: StartProxy, trust: ssl.SSLContext, kind: type[Proxy]
) -> None:
    server = start_server(**BEHIND)
    token = server.create_instance("shop")
    proxy = start_proxy(kind, server)
    with listen(proxy, trust, token) as client:
        server.terminate()
        with pytest.raises(ConnectionClosed) as ended:
            client.recv(CAP)
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1012, "restarting")
    assert server.process.wait(CAP) == 0
    # What the proxy writes about that must not hold a token either.
    assert ask(proxy, trust, f"/ws/shop?token={token}", headers={"token": token}) == 502
