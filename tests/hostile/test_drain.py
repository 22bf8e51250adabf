"""Drain with 2,000 clients: those that read receive everything, slow ones delay no other."""

import json
from functools import partial

import trio

from tests.clients import UPGRADE, request_bytes
from tests.e2e.harness import TIMEOUT_SECONDS, Server, StartServer, wait_until
from tests.fakes import client_frame
from tests.hostile.mass_clients import TEXT, MassClients, Peer

CLIENTS = 2000
SLOW = CLIENTS // 10
DRAIN_SECONDS = 6

# More than the sockets of a slow client hold, in fewer messages than it may have pending.
LARGE = json.dumps([{"event": "call.update", "data": {"padding": "x" * 65536}}] * 20)
LARGE_PUBLISHES = 10

# Accepted before SIGTERM.
LAST_BEFORE_SIGTERM = {"event": "call.update", "data": {"n": -1}}


class Producer:
    """Publishes numbered events over a WebSocket until the server closes it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sent = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.peer.read_all)
            try:
                while not self.peer.received:
                    document = {"event": "call.update", "data": {"n": self.sent}}
                    frame = client_frame(TEXT, json.dumps(document).encode())
                    await self.peer.send(frame)
                    self.sent += 1
                    await trio.sleep(0.1)
            except trio.BrokenResourceError:
                pass


def test_sigterm_drains_two_thousand_clients(start_process: StartServer) -> None:
    server = start_process(
        global_rate_limit="", create_rate_limit="", drain_seconds=DRAIN_SECONDS, log_level="info"
    )
    fast, slow = server.create_instance("fast"), server.create_instance("slow")
    trio.run(check_drain, server, fast, slow)


async def check_drain(server: Server, fast: str, slow: str) -> None:
    in_thread = trio.to_thread.run_sync
    async with MassClients(server) as clients:
        peers = await clients.connect_many(CLIENTS - SLOW, "/ws/fast", fast)
        await clients.connect_many(SLOW, "/ws/slow", slow, receive_buffer=4096)
        for _ in range(LARGE_PUBLISHES):
            assert await in_thread(server.publish, "slow", LARGE.encode()) == SLOW
        await clients.request_without_reading(server.account_token)
        producer = Producer(await clients.connect("/ws/fast/publish", fast))
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(peer.read_all)
            nursery.start_soon(producer.run)
            await trio.sleep(1)
            assert await in_thread(server.publish, "fast", LAST_BEFORE_SIGTERM) == len(peers)
            server.terminate()
            await in_thread(
                wait_until, partial(server.logged, "stopping"), "the server logs that it stops"
            )
            upgrade = request_bytes("GET", "/ws/fast", {"token": fast, **UPGRADE})
            assert (await clients.request(upgrade)).startswith(b"HTTP/1.1 503 ")
            assert await in_thread(server.process.wait, TIMEOUT_SECONDS) == 0
    for peer in peers:
        assert peer.close_code == 1012
        # Everything from before SIGTERM, and a first part without a gap of what came after it.
        numbers = [data["n"] for data in peer.data]
        last = numbers.index(-1)
        assert last > 0
        del numbers[last]
        assert numbers == list(range(len(numbers)))
    assert producer.peer.close_code == 1012
    assert len(server.logged("stopped")) == 1
