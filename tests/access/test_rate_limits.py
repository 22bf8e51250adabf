"""Rate limits: requests per window and token, and their headers."""

import time

import limits
import pytest
import trio
from trio.testing import MockClock

from ryze.access.rate_limits import RateLimits, Window, address_key
from ryze.errors import ApiError
from tests.clients import Response
from tests.conftest import Server, StartServer

LIST = "/api/instance/list"
OVER = (429, "Rate limit exceeded. Try again later.")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_ipv6_addresses_of_a_network_share_a_key(address: str, key: str) -> None:
    assert address_key(address) == key


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def rate_limits(limit: str, clock: Clock) -> RateLimits:
    return RateLimits({"some": limits.parse(limit), "other": limits.parse(limit)}, clock)


def counts(window: Window | None) -> tuple[int, bool]:
    assert window is not None
    return window.remaining, window.is_exceeded


class TestRateLimits:
    def test_window_counts_down_and_stays_at_zero(self) -> None:
        some = rate_limits("3/minute", Clock())
        seen = [counts(some.hit("some", "a")) for _ in range(5)]
        assert seen == [(2, False), (1, False), (0, False), (0, True), (0, True)]

    def test_window_begins_with_its_first_request(self) -> None:
        clock = Clock()
        some = rate_limits("1/minute", clock)
        some.hit("some", "a")
        clock.now += 59.9
        window = some.hit("some", "a")
        assert window is not None
        assert window.is_exceeded
        assert window.resets_in == pytest.approx(0.1)
        clock.now += 0.1
        assert counts(some.hit("some", "a")) == (0, False)

    def test_keys_and_limits_are_counted_separately(self) -> None:
        some = rate_limits("1/minute", Clock())
        some.hit("some", "a")
        assert counts(some.hit("some", "b")) == (0, False)
        assert counts(some.hit("other", "a")) == (0, False)

    def test_disabled_limit_counts_nothing(self) -> None:
        assert RateLimits({"off": None}, Clock()).hit("off", "a") is None

    def test_expired_windows_are_dropped(self) -> None:
        clock = Clock()
        some = rate_limits("1/minute", clock)
        storage = some._limiter.storage
        for number in range(2000):
            some.hit("some", str(number))
            clock.now += 0.1
        assert len(storage._windows) < 1700
        clock.now += 60
        for number in range(2000):
            some.hit("some", f"later {number}")
        assert len(storage._windows) <= 2048 + 1024

    def test_storage_implements_the_interface_of_limits(self) -> None:
        storage = rate_limits("1/minute", Clock())._limiter.storage
        storage.incr("a", 60)
        assert storage.check()
        assert storage.base_exceptions is ValueError
        assert (storage.get("a"), storage.get("b")) == (1, 0)
        storage.clear("a")
        storage.clear("b")
        assert storage.get("a") == 0
        storage.incr("c", 60, 2)
        assert storage.get("c") == 2
        assert storage.reset() == 1
        assert storage.get("c") == 0

    def test_exceeded_window_raises_429_with_retry_after(self) -> None:
        window = Window(5, 0, 1.2, is_exceeded=True)
        with pytest.raises(ApiError) as caught:
            window.check()
        assert (caught.value.status, caught.value.message) == OVER
        assert caught.value.headers["Retry-After"] == "2"
        assert caught.value.headers.keys() == {*window.headers(), "Retry-After"}

    def test_headers_tell_the_end_of_the_window(self) -> None:
        reset = int(Window(5, 0, 30, is_exceeded=False).headers()["X-RateLimit-Reset"])
        assert abs(reset - time.time() - 30) < 10


async def list_instances(
    server: Server, times: int, token: str | None = "account-token"
) -> list[Response]:
    return [await server.request("GET", LIST, token=token) for _ in range(times)]


async def test_101st_request_per_minute_is_refused(server: Server, mock_clock: MockClock) -> None:
    responses = await list_instances(server, 100)
    assert [response.status for response in responses] == [200] * 100
    assert [response.rate_limit for response in responses] == [(100, n) for n in range(99, -1, -1)]
    assert "retry-after" not in responses[-1].headers
    mock_clock.jump(10)
    [refused] = await list_instances(server, 1)
    assert refused.error == OVER
    assert refused.rate_limit == (100, 0)
    assert refused.headers["retry-after"] == "51"
    mock_clock.jump(49)
    [refused] = await list_instances(server, 1)
    assert refused.error == OVER
    assert refused.headers["retry-after"] == "2"
    mock_clock.jump(1)
    [passed] = await list_instances(server, 1)
    assert (passed.status, passed.rate_limit) == (200, (100, 99))


async def test_upgrades_count_against_the_global_limit(
    start_server: StartServer, mock_clock: MockClock
) -> None:
    server = await start_server(global_rate_limit=limits.parse("3/minute"))
    await server.create()
    assert (await server.connect()).response.rate_limit == (3, 2)
    await list_instances(server, 1)
    assert (await server.connect()).response.rate_limit == (3, 0)
    refused = await server.try_to_connect()
    assert refused.error == OVER
    assert refused.rate_limit == (3, 0)
    assert refused.headers["retry-after"] == "61"
    mock_clock.jump(60)
    assert (await server.connect()).response.rate_limit == (3, 2)


async def test_21st_creation_per_minute_is_refused(server: Server, mock_clock: MockClock) -> None:
    new = "/api/instance/new"
    responses = [await server.request("POST", new, json={"name": f"i{n}"}) for n in range(21)]
    assert [response.status for response in responses] == [201] * 20 + [429]
    assert [response.rate_limit for response in responses[:2]] == [(20, 19), (20, 18)]
    assert responses[-1].error == OVER
    # The global limit is not affected.
    assert (await list_instances(server, 1))[0].rate_limit == (100, 99)
    mock_clock.jump(60)
    assert (await server.request("POST", new, json={"name": "next"})).status == 201


async def test_each_token_has_its_own_window(start_server: StartServer) -> None:
    server = await start_server(global_rate_limit=limits.parse("1/minute"))
    token = await server.create()
    await list_instances(server, 1)
    assert (await list_instances(server, 1))[0].status == 429
    assert (await list_instances(server, 1, token))[0].status == 200
    # In whatever header it is sent.
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await server.request("GET", LIST, token=None, headers=bearer)).status == 429


@pytest.mark.parametrize(
    "spoof", [{}, {"Remote-Addr": "10.0.0.1"}, {"X-Forwarded-For": "10.0.0.1"}]
)
async def test_requests_without_valid_token_are_counted_by_address(
    start_server: StartServer, spoof: dict[str, str]
) -> None:
    server = await start_server(global_rate_limit=limits.parse("4/minute"))
    assert (await list_instances(server, 1, "wrong"))[0].rate_limit == (4, 3)
    assert (await list_instances(server, 1, "another"))[0].rate_limit == (4, 2)
    assert (await server.request("GET", "/nowhere", token=None)).rate_limit == (4, 1)
    refused = await server.try_to_connect(headers={"token": "third"})
    assert refused.error == (401, "Invalid token")
    assert refused.rate_limit == (4, 0)
    response = await server.request("GET", LIST, token="fourth", headers=spoof)
    assert response.error == OVER
    assert (await server.request("GET", "/nowhere", token=None, headers=spoof)).error == OVER
    assert (await server.try_to_connect(headers={"token": "fifth", **spoof})).error == OVER
    # Requests with a valid token are counted by token.
    assert (await list_instances(server, 1))[0].status == 200


async def test_refused_request_changes_nothing(start_server: StartServer) -> None:
    server = await start_server(global_rate_limit=limits.parse("1/minute"))
    await server.create()
    await list_instances(server, 1)
    assert (await server.request("DELETE", "/api/instance/delete/demo")).error == OVER
    assert server.services.registry.instances(1)


async def test_disabled_limits_have_no_headers(start_server: StartServer) -> None:
    server = await start_server(global_rate_limit=None, create_rate_limit=None)
    await server.create()
    socket = await server.connect()
    for response in (
        socket.response,
        *await list_instances(server, 1),
        *await list_instances(server, 1, "wrong"),
    ):
        assert not [name for name in response.headers if "ratelimit" in name]


async def test_publishing_does_not_count_against_the_global_limit(
    start_server: StartServer,
) -> None:
    server = await start_server(global_rate_limit=limits.parse("1/minute"))
    await server.create()
    for _ in range(3):
        response = await server.publish()
        assert response.status == 202
        assert "x-ratelimit-limit" not in response.headers
    assert (await list_instances(server, 1))[0].rate_limit == (1, 0)


async def test_publishing_has_a_limit_of_its_own(start_server: StartServer) -> None:
    server = await start_server(publish_rate_limit=limits.parse("2/minute"))
    await server.create()
    responses = [await server.publish() for _ in range(3)]
    assert [response.status for response in responses] == [202, 202, 429]
    assert [response.rate_limit for response in responses] == [(2, 1), (2, 0), (2, 0)]


async def test_health_is_not_counted(start_server: StartServer) -> None:
    server = await start_server(global_rate_limit=limits.parse("1/minute"))
    for _ in range(3):
        response = await server.request("GET", "/health", token=None)
        assert response.status == 200
        assert "x-ratelimit-limit" not in response.headers
    assert (await list_instances(server, 1, None))[0].rate_limit == (1, 0)


async def test_windows_follow_trios_clock(mock_clock: MockClock) -> None:
    some = RateLimits({"some": limits.parse("1/hour")})
    assert counts(some.hit("some", "a")) == (0, False)
    assert counts(some.hit("some", "a")) == (0, True)
    mock_clock.jump(3600)
    await trio.lowlevel.checkpoint()
    assert counts(some.hit("some", "a")) == (0, False)
