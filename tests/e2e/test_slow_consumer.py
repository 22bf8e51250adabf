"""A client that stops reading is dropped, exactly where the contract says; nobody else notices.

tests/gateway shows the same with a transport of known capacity. Here the capacity is that of
two real socket buffers, and the kernel is asked how much they hold.
"""

import contextlib
import json
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from .clients import CLOSE, TEXT, RawClient, WebsocketsClient, address
from .harness import Server, wait_until

BUFFER_MESSAGES = 256
# Large, so that the kernel's megabytes are full after some dozens of them.
PADDING = "x" * 65536


def publish_until_dropped(server: Server, others: list[WebsocketsClient]) -> int:
    """Publish one event after the other; the number of the one that dropped a client.

    Each is received by the others before the next one goes out: they are not delayed.
    """
    for number in range(1, 10_000):
        clients = publish(server, number, others)
        if clients == len(others):
            return number
        assert clients == len(others) + 1
    raise AssertionError("the slow client was not dropped")


def publish(server: Server, number: int, others: list[WebsocketsClient]) -> int:
    # Six digits, so that all frames have one size.
    data = {"number": f"{number:06}", "padding": PADDING}
    clients = server.publish("shop", {"event": "call.update", "data": data})
    for other in others:
        assert json.loads(other.receive())["data"] == data
    return clients


def bytes_held(client: RawClient) -> int:
    """What the kernel has of the connection: not yet sent or acknowledged, and not yet read."""
    here, there = client.socket.getsockname()[1], client.socket.getpeername()[1]
    held = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        ports = [int(end.rpartition(":")[2], 16) for end in (local, remote)]
        sent, received = (int(size, 16) for size in queues.split(":"))
        held += sent * (ports == [there, here]) + received * (ports == [here, there])
    return held


def test_dropped_exactly_at_the_publish_that_finds_256_pending(server: Server) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("/proc/net/tcp is not here: it is Linux that says what its buffers hold")
    token = server.create_instance("shop")
    with ExitStack() as stack:
        target = address(server.url, "shop", token)
        slow = stack.enter_context(closing(RawClient(*target, receive_buffer=4096)))
        others = [stack.enter_context(closing(WebsocketsClient(*target))) for _ in range(2)]
        server.wait_connected(3)
        dropped_by = publish_until_dropped(server, others)
        # One of these is enough to see how long a frame is: two bytes, eight more, the payload.
        frame_size = 10 + len(the_payload(server, token))
        # Of the messages accepted for it, 256 were not wholly in the kernel's hands. Waiting,
        # as bytes count twice while their acknowledgement is on its way.
        wait_until(
            lambda: dropped_by - 1 == BUFFER_MESSAGES + bytes_held(slow) // frame_size,
            f"publish {dropped_by} found 256 pending with {bytes_held(slow)} bytes in the kernel",
        )
        taken = -(-bytes_held(slow) // frame_size)
        # Publishing continues while the slow one has not even noticed.
        for number in range(dropped_by + 1, dropped_by + 20):
            assert publish(server, number, others) == len(others)
        read_what_is_left(slow, taken)


def the_payload(server: Server, token: str) -> bytes:
    about = {"baseUrl": server.url, "instance": "shop", "token": token}
    data = {"number": "000001", "padding": PADDING}
    # `data` goes through as `Server.request` has written it, with its spaces.
    text = '{"event":"call.update","data":%s,"instanceData":%s}'
    return (text % (json.dumps(data), json.dumps(about, separators=(",", ":")))).encode()


def read_what_is_left(slow: RawClient, taken: int) -> None:
    """The messages the kernel had, the last one completed; then 4008, unless it is too late.

    Reading is late when it begins after the close grace (2 s), as on a machine under load:
    then the connection has been reset.
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


def test_comes_back_and_receives_again(server: Server) -> None:
    token = server.create_instance("shop")
    target = address(server.url, "shop", token)
    with closing(RawClient(*target, receive_buffer=4096)):
        publish_until_dropped(server, [])
    with closing(WebsocketsClient(*target)) as back:
        assert publish(server, 1, [back]) == 1
