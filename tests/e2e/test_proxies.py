"""Behind nginx and Caddy, with the files of docs/deploy, everything works as without them.

Clients connect from 127.0.0.2 and the like, as the proxies are at 127.0.0.1, which is trusted.
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
from .harness import TIMEOUT_SECONDS, Server
from .proxies import Caddy, Nginx, Proxy

StartProxy = Callable[..., Proxy]

# Forged headers, which must have no effect.
FORGED = {"X-Forwarded-For": "203.0.113.9, garbage", "X-Forwarded-Proto": "gopher"}

BEHIND_PROXY = {"trusted_proxies": "127.0.0.1", "global_rate_limit": "", "create_rate_limit": ""}


class Pair(NamedTuple):
    """A server behind a proxy, shared by the tests that need no other settings."""

    server: Server
    proxy: Proxy
    # Token of the instance `shop`.
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
    server = Server(folder / "data", folder / "run", **BEHIND_PROXY)
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        proxy = request.param(folder / "proxy", authority.issue_cert("localhost"), server.url)
        stack.callback(proxy.close)
        yield Pair(server, proxy, server.create_instance("shop"))
    assert_no_token(server, proxy)


@pytest.fixture
def start_proxy(tmp_path: Path, authority: trustme.CA) -> Iterator[StartProxy]:
    """Start a proxy for a server."""
    running: list[tuple[Server, Proxy]] = []

    def start(kind: type[Proxy], server: Server, **options: Any) -> Proxy:
        folder = tmp_path / kind.__name__
        proxy = kind(folder, authority.issue_cert("localhost"), server.url, **options)
        running.append((server, proxy))
        return proxy

    yield start
    for server, proxy in running:
        proxy.close()
        assert_no_token(server, proxy)


both = pytest.mark.parametrize("kind", [Nginx, Caddy])


def assert_no_token(server: Server, proxy: Proxy) -> None:
    written = server.log + proxy.logs
    assert not [token for token in server.secrets if token in written], "a token is in a log"


def get_status(
    proxy: Proxy,
    trust: ssl.SSLContext,
    path: str,
    *,
    source: str = "127.0.0.2",
    headers: dict[str, str] | None = None,
) -> int:
    """The status of a GET on a new connection."""
    connection = http.client.HTTPSConnection(
        "localhost", proxy.port, context=trust, source_address=(source, 0), timeout=TIMEOUT_SECONDS
    )
    with contextlib.closing(connection):
        connection.request("GET", path, headers=FORGED | (headers or {}))
        return connection.getresponse().status


def connect_through(
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
        additional_headers=FORGED | headers,
        ssl=trust,
        address=("::1" if ":" in source else "127.0.0.1", proxy.port),
        source_address=(source, 0),
        proxy=None,
        open_timeout=TIMEOUT_SECONDS,
        **more,
    )


def next_data(client: ClientConnection) -> Any:
    """The data of the next event."""
    return json.loads(client.recv(TIMEOUT_SECONDS))["data"]


def publish(server: Server, data: Any) -> int:
    return server.publish("shop", {"event": "call.update", "data": data})


def test_websocket_on_a_reused_upstream_connection(pair: Pair, trust: ssl.SSLContext) -> None:
    server, proxy, token = pair
    source = "127.0.0.5"
    for _ in range(3):
        assert get_status(proxy, trust, "/health", source=source) == 200
    with (
        connect_through(proxy, trust, token, source=source) as one,
        connect_through(proxy, trust, token, source=source, in_query=True) as two,
    ):
        for data in ({"n": 1}, {"text": "x" * 1_000_000}):
            assert publish(server, data) == 2
            assert next_data(one) == next_data(two) == data
    requests = [line for line in server.logged("request") if line["client"] == source]
    assert [line["scheme"] for line in requests] == ["https"] * 3
    [used] = {line["connection"] for line in requests}
    if isinstance(proxy, Nginx):
        # Caddy opens a new connection for each WebSocket.
        assert used in [line["connection"] for line in server.logged("becomes a WebSocket")]
    assert [line["client"] for line in server.logged("connected")][-2:] == [source] * 2


def test_producer_socket(pair: Pair, trust: ssl.SSLContext) -> None:
    _, proxy, token = pair
    with (
        connect_through(proxy, trust, token) as client,
        connect_through(proxy, trust, token, target="/ws/shop/publish") as producer,
    ):
        for n in range(200):
            producer.send(json.dumps({"event": "call.update", "data": {"n": n}}))
        assert [next_data(client)["n"] for _ in range(200)] == list(range(200))


def test_ndjson_stream_exceeds_the_body_limit(pair: Pair, trust: ssl.SSLContext) -> None:
    _, proxy, token = pair
    line = json.dumps({"event": "call.update", "data": {"text": "x" * 1_000_000}}).encode() + b"\n"
    lines = 2 * 33_554_432 // len(line)
    connection = http.client.HTTPSConnection(
        "localhost", proxy.port, context=trust, timeout=TIMEOUT_SECONDS
    )
    headers = {"Content-Type": "application/x-ndjson", "token": token}
    with contextlib.closing(connection):
        path = "/api/events/publish/shop"
        connection.request("POST", path, (line for _ in range(lines)), headers, encode_chunked=True)
        response = json.load(connection.getresponse())
    assert response["published"] == lines


def test_only_pages_of_the_same_host_may_connect(pair: Pair, trust: ssl.SSLContext) -> None:
    _, proxy, token = pair
    with connect_through(proxy, trust, token, origin=proxy.url):
        pass
    refused = pytest.raises(InvalidStatus, match="403")
    with refused, connect_through(proxy, trust, token, origin="https://evil.example"):
        pass


def test_metrics_are_not_public(pair: Pair, trust: ssl.SSLContext) -> None:
    server, proxy, _ = pair
    for path in ("/metrics", "/metrics?a=b", "//metrics", "/x/../metrics", "/%6detrics"):
        assert get_status(proxy, trust, path) == 404
    succeeded = [line for line in server.logged("request") if line["status"] == 200]
    assert not [line for line in succeeded if "metrics" in line["target"]]
    assert server.request_text("/metrics")


@both
def test_rate_limits_are_per_client_despite_forged_addresses(
    start_server: StartServer, start_proxy: StartProxy, trust: ssl.SSLContext, kind: type[Proxy]
) -> None:
    server = start_server(trusted_proxies="127.0.0.1", global_rate_limit="1/hour")
    proxy = start_proxy(kind, server)
    for source in ("127.0.0.2", "127.0.0.3"):
        assert get_status(proxy, trust, "/api/instance/list", source=source) == 401
        for forged in ("203.0.113.1", "127.0.0.1", "nonsense", "::1"):
            more = {"X-Forwarded-For": forged}
            assert (
                get_status(proxy, trust, "/api/instance/list", source=source, headers=more) == 429
            )
    for source, status in (("127.0.0.4", "401"), ("127.0.0.4", "429"), ("::1", "401")):
        refused = pytest.raises(InvalidStatus, match=status)
        with refused, connect_through(proxy, trust, "wrong-token", source=source):
            pass
    refusals = [(line["client"], line["status"]) for line in server.logged("refused")]
    assert refusals == [("127.0.0.4", 401), ("127.0.0.4", 429), ("::1", 401)]


def test_proxy_connects_over_ipv6(
    start_server: StartServer, start_proxy: StartProxy, trust: ssl.SSLContext
) -> None:
    server = start_server(**BEHIND_PROXY | {"host": "::1", "trusted_proxies": "::1"})
    token = server.create_instance("shop")
    with connect_through(start_proxy(Nginx, server), trust, token) as client:
        assert publish(server, {"n": 1}) == 1
        assert next_data(client) == {"n": 1}
    assert [line["client"] for line in server.logged("connected")] == ["127.0.0.2"]


@pytest.mark.parametrize("has_heartbeat", [True, False])
def test_heartbeat_prevents_the_read_timeout_of_nginx(
    start_server: StartServer, start_proxy: StartProxy, trust: ssl.SSLContext, has_heartbeat: bool
) -> None:
    """With a read timeout of 1 s a connection stays open with pings every 0.2 s, and only then."""
    server = start_server(
        **BEHIND_PROXY, **({"ping_interval_seconds": 0.2} if has_heartbeat else {})
    )
    token = server.create_instance("shop")
    proxy = start_proxy(Nginx, server, read_timeout="1s")
    with connect_through(proxy, trust, token, ping_interval=None) as client:
        if has_heartbeat:
            with pytest.raises(TimeoutError):
                client.recv(2.5)
            assert publish(server, {"n": 1}) == 1
            assert next_data(client) == {"n": 1}
        else:
            with pytest.raises(ConnectionClosed):
                client.recv(TIMEOUT_SECONDS)


@both
def test_restart_closes_clients_behind_a_proxy_with_1012(
    start_server: StartServer, start_proxy: StartProxy, trust: ssl.SSLContext, kind: type[Proxy]
) -> None:
    server = start_server(**BEHIND_PROXY)
    token = server.create_instance("shop")
    proxy = start_proxy(kind, server)
    with connect_through(proxy, trust, token) as client:
        server.terminate()
        with pytest.raises(ConnectionClosed) as ended:
            client.recv(TIMEOUT_SECONDS)
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1012, "restarting")
    assert server.process.wait(TIMEOUT_SECONDS) == 0
    # The proxy's log about the failure must not contain the token either.
    assert get_status(proxy, trust, f"/ws/shop?token={token}", headers={"token": token}) == 502
