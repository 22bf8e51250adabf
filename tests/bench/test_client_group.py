"""The load generator detects every fault of a real hub that has one."""

import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.errors import DeliveryError
from bench.events import relayed_template
from bench.load_generator import client_group
from bench.load_generator.client_group import ClientGroup
from bench.load_generator.publish_loops import closed_loop, open_loop
from bench.load_generator.subscribers import Address
from bench.server_process import ServerProcess, open_server
from tests.bench.faulty_hub import FAULTS, REPEAT, SUBSCRIBERS, FaultyHub

IN_FLIGHT = 8


@contextmanager
def open_clients(fault: str) -> Iterator[tuple[ClientGroup, ServerProcess]]:
    clients = ClientGroup()
    with open_server(FaultyHub(fault)) as server:
        for path, count in (("/subscribe", SUBSCRIBERS - 1), ("/faulty", 1)):
            address = Address(server.port, path, {})
            assert clients.connect(address, count, count, has_small_windows=False) == {}
        publish_address = Address(server.port, "/publish", {})
        try:
            clients.open_producer("websocket", publish_address, relayed_template(300).decode())
            yield clients, server
        finally:
            clients.disconnect()
            clients.producer.socket.close()
            clients.poller.close()


def publish_batch(clients: ClientGroup, events: int = IN_FLIGHT) -> None:
    """Publish one batch of a closed loop, and inspect one subscriber's frames."""
    inspected = clients.start_due_inspection(1000)
    assert inspected is not None
    clients.publish(events)
    clients.wait_received(len(clients.fast) * events * clients.expected.frame_size)
    clients.finish_inspection(inspected, events)


def publish_many_batches(clients: ClientGroup) -> None:
    """Publish past the faulty event, which is in the third batch, to the inspected subscriber."""
    for _ in range(200):
        publish_batch(clients)


def test_hub_without_fault_delivers_every_byte() -> None:
    with open_clients("none") as (clients, _):
        for _ in range(20):
            publish_batch(clients)
        size = clients.expected.frame_size
        assert [each.received for each in clients.fast] == [161 * size] * SUBSCRIBERS
        assert clients.decoded == 160
        assert clients.expected.closed_subscribers == 0


@pytest.mark.parametrize("fault", sorted({*FAULTS} - {"none", "closed", "pinged"}))
def test_altered_event_raises(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_group, "TIMEOUT_SECONDS", 0.5)
    with open_clients(fault) as (clients, _):
        publish_batch(clients)
        with pytest.raises((DeliveryError, ValueError)):
            publish_many_batches(clients)


def test_closed_subscriber_is_counted_and_not_waited_for() -> None:
    with open_clients("closed") as (clients, _):
        publish_batch(clients)
        while not clients.remove_closed():
            publish_batch(clients)
        assert len(clients.fast) == SUBSCRIBERS - 1
        publish_batch(clients)
        assert clients.remove_closed() == 0


def test_subscriber_closed_between_two_loops_is_counted_and_not_waited_for() -> None:
    with open_clients("none") as (clients, _):
        clients.fast[0].close()
        result = closed_loop(clients, 0.1, IN_FLIGHT)
        assert (result["closed"], result["receivers"]) == (1, SUBSCRIBERS - 1)
        result = closed_loop(clients, 0.1, IN_FLIGHT)
        assert (result["closed"], result["receivers"]) == (0, SUBSCRIBERS - 1)
        clients.fast[0].close()
        result = open_loop(clients, 0.1, rate=100)
        assert len(clients.fast) == SUBSCRIBERS - 2


def test_inspections_cover_every_subscriber_in_turn() -> None:
    with open_clients("none") as (clients, _):
        inspected = {id(clients.start_inspection()) for _ in clients.fast}
        assert inspected == set(map(id, clients.fast))


def test_open_loop_times_every_receipt() -> None:
    with open_clients("none") as (clients, _):
        result = open_loop(clients, 0.5, rate=100)
        assert sum(result["histogram"].values()) == 50 * SUBSCRIBERS
        assert clients.decoded == 50
        assert result["receipts"]["max"] == result["last_receipts"]["max"]


def test_open_loop_publishes_at_least_one_event() -> None:
    with open_clients("none") as (clients, _):
        result = open_loop(clients, 0.1, rate=1)
        assert sum(result["histogram"].values()) == SUBSCRIBERS


@pytest.mark.parametrize("fault", ["duplicated", "wrong number"])
def test_altered_event_in_open_loop_raises(fault: str) -> None:
    with open_clients(fault) as (clients, _):
        # The open loop inspects the next subscriber: the last one, which is the faulty one.
        while clients.start_inspection() is not clients.fast[-2]:
            pass
        with pytest.raises(DeliveryError):
            open_loop(clients, 0.5, rate=100)


def test_ping_is_answered_and_not_counted_as_event() -> None:
    with open_clients("pinged") as (clients, server):
        for _ in range(4):
            publish_batch(clients)
        assert "got pong" in server.log.read_text()


def test_unpublished_event_raises() -> None:
    with open_clients("none") as (clients, _):
        publish_batch(clients)
        clients.producer.publish([REPEAT.encode()])
        poller = select.poll()
        poller.register(clients.poller.fileno(), select.POLLIN)
        assert poller.poll(5000)
        with pytest.raises(DeliveryError, match="bytes of events that were not published"):
            clients.receive_unsolicited()
