"""A shutdown with thousands there: who reads gets everything, who does not delays nobody."""

import json
from functools import partial

import trio

from tests.clients import UPGRADE, request_bytes
from tests.e2e.harness import CAP, Server, StartServer, wait_until
from tests.fakes import client_frame
from tests.hostile.mass_clients import TEXT, Crowd, Peer

CLIENTS = 2000
STUCK = CLIENTS // 10
DRAIN_SECONDS = 6

# Over what the sockets of one who does not read hold, in less than it may have pending.
LARGE = json.dumps([{"event": "call.update", "data": {"padding": "x" * 65536}}] * 20)
LARGE_PUBLISHES = 10

# Accepted before the signal, for sure.
LAST = {"event": "call.update", "data": {"n": -1}}


class Producer:
    """Publishes numbered events over a WebSocket until it is sent away."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sent = 0

    async def work(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.peer.read_all)
            try:
                while not self.peer.wire:
                    document = {"event": "call.update", "data": {"n": self.sent}}
                    frame = client_frame(TEXT, json.dumps(document).encode())
                    await self.peer.send(frame)
                    self.sent += 1
                    await trio.sleep(0.1)
            except trio.BrokenResourceError:
                pass


def test_sigterm_with_two_thousand_clients(start_process: StartServer) -> None:
    server = start_process(
        global_rate_limit="", create_rate_limit="", drain_seconds=DRAIN_SECONDS, log_level="info"
    )
    fine, stuck = server.create_instance("fine"), server.create_instance("stuck")
    trio.run(see_off, server, fine, stuck)


async def see_off(server: Server, fine: str, stuck: str) -> None:
    in_thread = trio.to_thread.run_sync
    async with Crowd(server) as crowd:
        peers = await crowd.connect_many(CLIENTS - STUCK, "/ws/fine", fine)
        await crowd.connect_many(STUCK, "/ws/stuck", stuck, window=4096)
        for _ in range(LARGE_PUBLISHES):
            assert await in_thread(server.publish, "stuck", LARGE.encode()) == STUCK
        await crowd.ask_and_be_deaf(server.account_token)
        producer = Producer(await crowd.connect("/ws/fine/publish", fine))
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(peer.read_all)
            nursery.start_soon(producer.work)
            await trio.sleep(1)
            assert await in_thread(server.publish, "fine", LAST) == len(peers)
            server.terminate()
            await in_thread(wait_until, partial(server.logged, "stopping"), "it stops")
            upgrade = request_bytes("GET", "/ws/fine", {"token": fine, **UPGRADE})
            assert (await crowd.ask(upgrade)).startswith(b"HTTP/1.1 503 ")
            assert await in_thread(server.process.wait, CAP) == 0
    for peer in peers:
        assert peer.farewell == 1012
        # Everything from before the signal, and an unbroken part of what came after it.
        numbers = [data["n"] for data in peer.data]
        last = numbers.index(-1)
        assert last > 0
        del numbers[last]
        assert numbers == list(range(len(numbers)))
    assert producer.peer.farewell == 1012
    assert len(server.logged("stopped")) == 1
