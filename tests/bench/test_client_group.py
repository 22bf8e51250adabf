"""The load generator notices whatever a server does to its events."""

import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.events import relayed_template
from bench.load_generator import client_group as crowd_module
from bench.load_generator import publish_loops as loops
from bench.load_generator.client_group import Crowd, LoadError
from bench.load_generator.subscribers import Address
from bench.server_process import Server, running
from tests.bench.faulty_hub import AGAIN, CLIENTS, FAULTS, FaultyHub

IN_FLIGHT = 8


@contextmanager
def crowd_at(fault: str) -> Iterator[tuple[Crowd, Server]]:
    crowd = Crowd()
    with running(FaultyHub(fault)) as server:
        for path, count in (("/subscribe", CLIENTS - 1), ("/faulty", 1)):
            address = Address(server.port, path, {})
            assert crowd.connect(address, count, count, narrow=False) == {}
        publish = Address(server.port, "/publish", {})
        try:
            crowd.open_publisher("websocket", publish, relayed_template(300).decode())
            yield crowd, server
        finally:
            crowd.disconnect()
            crowd.publisher.socket.close()
            crowd.poller.close()


def publish(crowd: Crowd, events: int = IN_FLIGHT) -> None:
    """One turn of a closed loop, with a client's frames looked into."""
    sampled = crowd.next_sample(1000)
    assert sampled is not None
    crowd.publish(events)
    crowd.collect(len(crowd.readers) * events * crowd.stream.frame_size)
    crowd.check_sample(sampled, events)


def publish_past_the_culprit(crowd: Crowd) -> None:
    """The third turn is the culprit's, and its client's to be looked into."""
    for _ in range(200):
        publish(crowd)


def test_a_hub_without_fault() -> None:
    with crowd_at("none") as (crowd, _):
        for _ in range(20):
            publish(crowd)
        size = crowd.stream.frame_size
        assert [each.total for each in crowd.readers] == [161 * size] * CLIENTS
        assert crowd.decoded == 160
        assert crowd.stream.closed == 0


@pytest.mark.parametrize("fault", sorted({*FAULTS} - {"none", "closed", "pinged"}))
def test_a_fault_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd_module, "PATIENCE_SECONDS", 0.5)
    with crowd_at(fault) as (crowd, _):
        publish(crowd)
        with pytest.raises((LoadError, ValueError)):
            publish_past_the_culprit(crowd)


def test_a_closed_client_is_counted_and_not_waited_for() -> None:
    with crowd_at("closed") as (crowd, _):
        publish(crowd)
        while not crowd.reap():
            publish(crowd)
        assert len(crowd.readers) == CLIENTS - 1
        publish(crowd)
        assert crowd.reap() == 0


def test_a_client_that_is_closed_between_two_measurements_is_not_waited_for() -> None:
    with crowd_at("none") as (crowd, _):
        crowd.readers[0].give_up()
        result = loops.closed_loop(crowd, 0.1, IN_FLIGHT)
        assert (result["closed"], result["receivers"]) == (1, CLIENTS - 1)
        result = loops.closed_loop(crowd, 0.1, IN_FLIGHT)
        assert (result["closed"], result["receivers"]) == (0, CLIENTS - 1)
        crowd.readers[0].give_up()
        result = loops.open_loop(crowd, 0.1, rate=100)
        assert len(crowd.readers) == CLIENTS - 2


def test_every_client_is_looked_into_in_its_turn() -> None:
    with crowd_at("none") as (crowd, _):
        assert {id(crowd.sample()) for _ in crowd.readers} == set(map(id, crowd.readers))


def test_an_open_loop() -> None:
    with crowd_at("none") as (crowd, _):
        result = loops.open_loop(crowd, 0.5, rate=100)
        assert sum(result["histogram"].values()) == 50 * CLIENTS
        assert crowd.decoded == 50
        assert result["receipts"]["max"] == result["last_receipts"]["max"]


def test_an_open_loop_has_at_least_one_event() -> None:
    with crowd_at("none") as (crowd, _):
        result = loops.open_loop(crowd, 0.1, rate=1)
        assert sum(result["histogram"].values()) == CLIENTS


@pytest.mark.parametrize("fault", ["doubled", "another number"])
def test_a_fault_in_an_open_loop(fault: str) -> None:
    with crowd_at(fault) as (crowd, _):
        while crowd.sample() is not crowd.readers[-2]:
            pass
        with pytest.raises(LoadError):
            loops.open_loop(crowd, 0.5, rate=100)


def test_a_ping_is_answered_and_is_no_event() -> None:
    with crowd_at("pinged") as (crowd, server):
        for _ in range(4):
            publish(crowd)
        assert "ponged" in server.log.read_text()


def test_an_event_that_nobody_has_published() -> None:
    with crowd_at("none") as (crowd, _):
        publish(crowd)
        crowd.publisher.publish([AGAIN.encode()])
        poller = select.poll()
        poller.register(crowd.poller.fileno(), select.POLLIN)
        assert poller.poll(5000)
        with pytest.raises(LoadError, match="bytes of events that nobody has published"):
            crowd.attend()
