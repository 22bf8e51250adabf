"""TLS of the port: handshakes, failed ones, and WebSockets over TLS."""

import ssl
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.clients import UPGRADE, RawClient, WebSocketClient, request_bytes
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer, until

TOKEN = {"token": ACCOUNT_TOKEN}
CONNECT = request_bytes("GET", "/ws/demo", {**TOKEN, **UPGRADE})
HEALTH = request_bytes("GET", "/health")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls_server(
    start_server: StartServer, tmp_path: Path, authority: trustme.CA
) -> Callable[..., Any]:
    """Return a function that starts a server with TLS, by default with an instance."""
    certificate = authority.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    key.write_bytes(certificate.private_key_pem.bytes())
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    async def start(*, instance: bool = True, **changes: Any) -> Server:
        server = await start_server(tls=trust, tls_cert=cert, tls_key=key, **changes)
        if instance:
            await server.create()
        return server

    return start


class TestTls:
    async def test_https_and_wss(self, tls_server: Callable[..., Any]) -> None:
        server: Server = await tls_server()
        assert server.settings.base_url.startswith("https://127.0.0.1:")
        client = await server.open()
        assert (await client.request("GET", "/health")).status == 200
        ws = await server.connect()
        kept_alive = WebSocketClient(
            client, await client.request("GET", "/ws/demo", {**TOKEN, **UPGRADE})
        )
        assert (await server.publish({"n": 1})).json["clients"] == 2
        for socket in (ws, kept_alive):
            document = await socket.document()
            assert document["data"] == {"n": 1}
            assert document["instanceData"]["baseUrl"] == server.settings.base_url
        assert (await server.try_to_connect("/ws/nobody")).error == (404, "Instance not found")

    async def test_large_bodies_both_ways(self, tls_server: Callable[..., Any]) -> None:
        server: Server = await tls_server()
        ws = await server.connect()
        text = "x" * 3_000_000
        received: list[Any] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                received.append(await ws.document())

            assert (await server.publish({"text": text})).status == 202
        assert received[0]["data"] == {"text": text}

    async def test_http_2_is_not_offered(self, tls_server: Callable[..., Any]) -> None:
        server: Server = await tls_server()
        assert server.tls is not None
        server.tls.set_alpn_protocols(["h2", "http/1.1"])
        client = await server.open()
        await client.request("GET", "/health")
        assert isinstance(client.stream, trio.SSLStream)
        assert client.stream.selected_alpn_protocol() == "http/1.1"

    @pytest.mark.parametrize("data", [HEALTH, CONNECT, b"\x16\x03\x01"])
    async def test_plain_peer_of_a_tls_port_gets_no_response(
        self,
        tls_server: Callable[..., Any],
        logs: list[MutableMapping[str, Any]],
        data: bytes,
    ) -> None:
        server: Server = await tls_server(instance=False, handshake_timeout_seconds=0.2)
        server.tls = None
        client = await server.open()
        await client.send(data)
        assert b"HTTP" not in await client.rest()
        assert not [line for line in logs if line["log_level"] == "error"]

    async def test_silent_peer_of_a_tls_port_is_closed(
        self, tls_server: Callable[..., Any]
    ) -> None:
        server: Server = await tls_server(instance=False, handshake_timeout_seconds=0.05)
        server.tls = None
        client = await server.open()
        assert await client.rest() == b""

    async def test_failed_tls_handshakes_leave_nothing_behind(
        self, tls_server: Callable[..., Any], logs: list[MutableMapping[str, Any]]
    ) -> None:
        server: Server = await tls_server(handshake_timeout_seconds=1)
        ws = await server.connect()
        distrusting = ssl.create_default_context()
        too_old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        too_old.check_hostname, too_old.verify_mode = False, ssl.CERT_NONE
        too_old.set_ciphers("AES128-SHA")
        too_old.maximum_version = ssl.TLSVersion.TLSv1_2
        before = count_open()
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for data in (b"", b"\x16\x03\x01", b"\0" * 1000, HEALTH, CONNECT):
                    nursery.start_soon(connect_without_tls, server, data, False)
                    nursery.start_soon(connect_without_tls, server, data, True)
                nursery.start_soon(fail_tls_handshake, server, distrusting)
                nursery.start_soon(fail_tls_handshake, server, too_old)
        await until(lambda: count_open() == before)
        refused = [line for line in logs if line["event"] == "TLS handshake failed"]
        # A client that distrusts our certificate may say so after our end of the handshake.
        assert 33 <= len(refused) <= 36
        assert {line["client"] for line in refused} == {"127.0.0.1"}
        assert "timeout" in {line["reason"] for line in refused}
        assert not [line for line in logs if line["log_level"] not in ("debug", "info")]
        await server.publish({"n": 1})
        assert await ws.data() == {"n": 1}

    async def test_slow_consumer_is_evicted_and_others_are_served(
        self, tls_server: Callable[..., Any], nursery: trio.Nursery
    ) -> None:
        server: Server = await tls_server(client_buffer_messages=8, close_grace_seconds=0.05)
        await connect_stalled(server, CONNECT)
        reader = await server.connect()
        text = "x" * 100_000
        clients = 2
        for n in range(1000):
            with trio.fail_after(60):
                response = await server.publish({"n": n, "text": text})
                assert (await reader.data())["n"] == n
            clients = response.json["clients"]
            if clients == 1:
                break
        assert clients == 1
        await until(lambda: server.websockets.connections == 1)
        assert server.hub.statistics().pending == 0
        await server.publish({"n": "after"})
        assert await reader.data() == {"n": "after"}

    async def test_lost_connections_leave_nothing_behind(
        self, tls_server: Callable[..., Any], logs: list[MutableMapping[str, Any]]
    ) -> None:
        server: Server = await tls_server()
        for data in (b"G", HEALTH[:-1], HEALTH, CONNECT):
            client = await server.open()
            await client.send(data)
            await trio.aclose_forcefully(client.stream)
        await until(lambda: not server.http_connections())
        await until(lambda: not server.websockets.connections)
        assert (await server.request("GET", "/health")).status == 200
        assert not [line for line in logs if line["log_level"] == "error"]


def count_open() -> tuple[int, int]:
    """Count file descriptors of this process, and tasks."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return descriptors, trio.lowlevel.current_statistics().tasks_living


async def connect_without_tls(server: Server, data: bytes, disconnects: bool) -> None:
    """Connect without TLS; disconnect at once, or wait for the end."""
    async with await trio.open_tcp_stream(*server.address) as stream:
        with suppress(trio.BrokenResourceError):
            if data:
                await stream.send_all(data)
            while not disconnects and await stream.receive_some():
                pass


async def fail_tls_handshake(server: Server, context: ssl.SSLContext) -> None:
    """Connect with a context that makes the TLS handshake fail."""
    stream = await trio.open_tcp_stream(*server.address)
    secured = trio.SSLStream(stream, context, server_hostname="127.0.0.1")
    with pytest.raises(trio.BrokenResourceError):
        await secured.do_handshake()
    await trio.aclose_forcefully(secured)


async def connect_stalled(server: Server, data: bytes) -> RawClient:
    """Connect a client that reads its 101 and then nothing more."""
    client = await server.open()
    await client.send(data)
    assert (await client.read_response()).status == 101
    return client
