"""A slow consumer is evicted exactly at 256 pending, and no other subscriber is affected.

tests/websocket shows the same with a transport of known capacity. Here the capacity is that of two
real socket buffers, and the kernel reports how much they hold.
"""

import contextlib
import json
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from .clients import CLOSE, TEXT, RawClient, WebsocketsClient, connect_arguments
from .harness import Server, wait_until

BUFFER_MESSAGES = 256
# Large, so that some dozens of events fill the socket buffers (megabytes).
PADDING = "x" * 65536


def publish_until_evicted(server: Server, others: list[WebsocketsClient]) -> int:
    """Publish event after event; the number of the one that evicted the slow consumer.

    All others receive each event before the next one is published, so they are not delayed.
    """
    for number in range(1, 10_000):
        clients = publish(server, number, others)
        if clients == len(others):
            return number
        assert clients == len(others) + 1
    raise AssertionError("the slow consumer was not evicted")


def publish(server: Server, number: int, others: list[WebsocketsClient]) -> int:
    # Six digits, so that all frames have the same size.
    data = {"number": f"{number:06}", "padding": PADDING}
    clients = server.publish("shop", {"event": "call.update", "data": data})
    for other in others:
        assert json.loads(other.receive())["data"] == data
    return clients


def bytes_held(client: RawClient) -> int:
    """Bytes in both socket buffers: not yet sent or acknowledged, and not yet read."""
    here, there = client.socket.getsockname()[1], client.socket.getpeername()[1]
    held = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        ports = [int(end.rpartition(":")[2], 16) for end in (local, remote)]
        sent, received = (int(size, 16) for size in queues.split(":"))
        held += sent * (ports == [there, here]) + received * (ports == [here, there])
    return held


def test_slow_consumer_is_evicted_at_256_pending(server: Server) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs /proc/net/tcp (Linux) for the fill level of socket buffers")
    token = server.create_instance("shop")
    with ExitStack() as stack:
        target = connect_arguments(server.url, "shop", token)
        slow = stack.enter_context(closing(RawClient(*target, receive_buffer=4096)))
        others = [stack.enter_context(closing(WebsocketsClient(*target))) for _ in range(2)]
        server.wait_connected(3)
        evicting_number = publish_until_evicted(server, others)
        # Frame header with a 64-bit length: 2 + 8 bytes.
        frame_size = 10 + len(expected_payload(server, token))
        # Of the messages accepted for it, 256 were not completely taken by the kernel. Waiting, as
        # bytes count twice until they are acknowledged.
        wait_until(
            lambda: evicting_number - 1 == BUFFER_MESSAGES + bytes_held(slow) // frame_size,
            f"event {evicting_number} found 256 pending, {bytes_held(slow)} bytes in the kernel",
        )
        taken = -(-bytes_held(slow) // frame_size)
        # Publishing continues before the slow consumer reads its close frame.
        for number in range(evicting_number + 1, evicting_number + 20):
            assert publish(server, number, others) == len(others)
        read_remaining(slow, taken)


def expected_payload(server: Server, token: str) -> bytes:
    instance_data = {"baseUrl": server.url, "instance": "shop", "token": token}
    data = {"number": "000001", "padding": PADDING}
    # The server keeps `data` as `Server.request` serializes it, with spaces.
    text = '{"event":"call.update","data":%s,"instanceData":%s}'
    return (text % (json.dumps(data), json.dumps(instance_data, separators=(",", ":")))).encode()


def read_remaining(slow: RawClient, taken: int) -> None:
    """Read the messages that the kernel had, the last one completed, then 4008.

    When reading begins after the close grace (2 s), as on a machine under load, the connection has
    been reset instead.
    """
    frames: list[tuple[int, bytes]] = []
    with contextlib.suppress(ConnectionError):
        while not frames or frames[-1][0] == TEXT:
            frames.append(slow.receive())
        assert frames[-1] == (CLOSE, (4008).to_bytes(2, "big") + b"slow consumer")
        assert len(frames) == taken + 1
    events = [json.loads(payload) for opcode, payload in frames if opcode == TEXT]
    numbers = [event["data"]["number"] for event in events]
    assert numbers == [f"{number:06}" for number in range(1, len(numbers) + 1)]
    assert len(numbers) <= taken


def test_evicted_consumer_can_reconnect(server: Server) -> None:
    token = server.create_instance("shop")
    target = connect_arguments(server.url, "shop", token)
    with closing(RawClient(*target, receive_buffer=4096)):
        publish_until_evicted(server, [])
    with closing(WebsocketsClient(*target)) as reconnected:
        assert publish(server, 1, [reconnected]) == 1
