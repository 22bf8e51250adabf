"""Client addresses: forwarding headers are believed from trusted proxies only."""

from collections.abc import MutableMapping
from ipaddress import ip_address, ip_network
from typing import Any

import limits
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryze.server.trusted_proxies import TrustedProxies
from tests.clients import UPGRADE
from tests.conftest import ACCOUNT_TOKEN, Server, StartServer

LOOPBACK = (ip_network("127.0.0.0/8"),)
PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
NOBODY = TrustedProxies([])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        # No header.
        ("10.0.0.1", "", "10.0.0.1"),
        # The peer is not trusted.
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        # Entries to the left of the client are made up by it.
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.9, 198.51.100.7", "198.51.100.7"),
        # Through two and three trusted proxies.
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("fd00::1", "203.0.113.9,198.51.100.7,10.0.0.3,fd00::2", "198.51.100.7"),
        # The client is itself in a trusted network.
        ("10.0.0.1", "10.0.0.8, 10.0.0.2", "10.0.0.8"),
        # Ports, brackets, white space, IPv6 in all its forms.
        ("10.0.0.1", " 198.51.100.7:4711 ", "198.51.100.7"),
        ("10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.0.0.1", "[2001:DB8:0::7]", "2001:db8::7"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::ffff:192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("fe80::1%eth0", "198.51.100.7", "fe80::1%eth0"),
        # Invalid entries: the address of the proxy that let them through.
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, unknown", "10.0.0.1"),
        ("10.0.0.1", "unknown, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7,", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.777", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7:port", "10.0.0.1"),
        ("10.0.0.1", "[198.51.100.7", "10.0.0.1"),
        ("10.0.0.1", "a" + ":1" * 5000, "10.0.0.1"),
    ],
)
def test_client_is_the_first_untrusted_address_from_the_right(
    peer: str, forwarded_for: str, client: str
) -> None:
    assert PROXIES.client(peer, forwarded_for) == client


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert NOBODY.client("127.0.0.1", "198.51.100.7") == "127.0.0.1"
    assert not NOBODY.trusts("127.0.0.1")


def test_at_most_sixteen_entries_are_read() -> None:
    chain = [f"10.0.0.{number}" for number in range(100)]
    assert PROXIES.client("10.1.0.0", ",".join(chain[-15:])) == "10.0.0.85"
    assert PROXIES.client("10.1.0.0", ",".join(chain[-16:])) == "10.0.0.84"
    assert PROXIES.client("10.1.0.0", ",".join(chain)) == "10.0.0.84"


@given(st.text(st.characters(max_codepoint=255)) | st.text("0123456789abcdf.:,[] %"))
def test_any_header_gives_an_address(text: str) -> None:
    client = PROXIES.client("10.0.0.1", text)
    assert str(ip_address(client)) == client


@given(st.text(st.characters(max_codepoint=255)), st.ip_addresses())
def test_client_cannot_hide_its_address(invented: str, real: Any) -> None:
    """Entries of the client are to the left of the one that the proxy appends."""
    expected = PROXIES.client(str(real), "")
    if not PROXIES.trusts(str(real)):
        assert PROXIES.client("10.0.0.1", f"{invented}, {real}") == expected


# --- In the server ---


ONE = {"X-Forwarded-For": "198.51.100.1"}
TWO = {"X-Forwarded-For": "203.0.113.9, 198.51.100.2"}


async def send(server: Server, way: str, headers: dict[str, str]) -> tuple[int, str]:
    """Send a request without a valid token, which is counted by address."""
    if way == "http":
        response = await server.request("GET", "/api/instance/list", token=None, headers=headers)
    elif way == "upgrade":
        response = await server.try_to_connect(headers={"token": None, **headers})
    else:
        client = await server.open()
        await client.request("GET", "/health")
        response = await client.request("GET", "/ws/demo", {**UPGRADE, **headers})
    return response.error


@pytest.mark.parametrize("way", ["http", "upgrade", "upgrade on a reused connection"])
async def test_rate_limits_count_each_client_behind_a_trusted_proxy(
    start_server: StartServer, way: str
) -> None:
    server = await start_server(
        trusted_proxies=LOOPBACK, global_rate_limit=limits.parse("1/minute")
    )
    for headers in (ONE, TWO):
        assert (await send(server, way, headers))[0] == 401
        assert (await send(server, way, headers))[0] == 429
    invented = {"X-Forwarded-For": "203.0.113.10, 198.51.100.2"}
    assert (await send(server, way, invented))[0] == 429


@pytest.mark.parametrize("way", ["http", "upgrade", "upgrade on a reused connection"])
async def test_untrusted_peers_are_counted_by_their_own_address(
    start_server: StartServer, way: str
) -> None:
    server = await start_server(
        trusted_proxies=(ip_network("10.0.0.0/8"),), global_rate_limit=limits.parse("1/minute")
    )
    assert (await send(server, way, ONE))[0] == 401
    assert (await send(server, way, TWO))[0] == 429


async def test_requests_of_one_connection_have_their_own_clients(
    start_server: StartServer, logs: list[MutableMapping[str, Any]]
) -> None:
    server = await start_server(trusted_proxies=LOOPBACK)
    client = await server.open()
    for address in ("198.51.100.1", "198.51.100.2"):
        await client.request("GET", "/health", {"X-Forwarded-For": address})
    await client.request("GET", "/health")
    seen = [line["client"] for line in logs if line["event"] == "request"]
    assert seen == ["198.51.100.1", "198.51.100.2", "127.0.0.1"]


async def test_several_headers_are_joined(
    start_server: StartServer, logs: list[MutableMapping[str, Any]]
) -> None:
    server = await start_server(trusted_proxies=LOOPBACK)
    line = b"X-Forwarded-For: 198.51.100.%d\r\n"
    head = b"GET %b HTTP/1.1\r\nHost: a\r\n" + line % 1 + line % 2 + b"\r\n"
    await server.raw(head % b"/health")
    await server.raw(head % b"/ws/demo")
    assert [log["client"] for log in logs if "client" in log] == ["198.51.100.2"] * 2


@pytest.mark.parametrize(
    ("trusted", "headers", "scheme"),
    [
        (LOOPBACK, {}, "http"),
        (LOOPBACK, {"X-Forwarded-Proto": "https"}, "https"),
        (LOOPBACK, {"X-Forwarded-Proto": "HTTPS "}, "https"),
        (LOOPBACK, {"X-Forwarded-Proto": "http, https"}, "https"),
        (LOOPBACK, {"X-Forwarded-Proto": "https, http"}, "http"),
        (LOOPBACK, {"X-Forwarded-Proto": "wss"}, "http"),
        ((), {"X-Forwarded-Proto": "https"}, "http"),
    ],
)
async def test_scheme_is_that_of_a_trusted_proxy(
    start_server: StartServer,
    logs: list[MutableMapping[str, Any]],
    trusted: Any,
    headers: dict[str, str],
    scheme: str,
) -> None:
    server = await start_server(trusted_proxies=trusted)
    client = await server.open()
    await client.request("GET", "/health", headers)
    await client.request("GET", "/health", {"token": ACCOUNT_TOKEN})
    assert [line["scheme"] for line in logs if line["event"] == "request"] == [scheme, "http"]


async def test_client_of_a_websocket_is_logged(
    start_server: StartServer, logs: list[MutableMapping[str, Any]]
) -> None:
    server = await start_server(trusted_proxies=LOOPBACK)
    await server.create()
    await server.connect(headers=ONE)
    await server.try_to_connect(headers={"token": "wrong", **TWO})
    seen = {line["event"]: line["client"] for line in logs if "client" in line}
    assert seen["connected"] == "198.51.100.1"
    assert seen["refused"] == "198.51.100.2"
