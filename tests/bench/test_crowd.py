"""The load generator notices whatever a server does to its events."""

import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import crowd as crowd_module
from bench import loops
from bench.crowd import Crowd, LoadError
from bench.events import relayed_template
from bench.servers import Server, running
from bench.subscribers import Address
from tests.bench.faulty_hub import AGAIN, CLIENTS, FAULTS, FaultyHub

IN_FLIGHT = 8


@contextmanager
def crowd_at(fault: str) -> Iterator[tuple[Crowd, Server]]:
    crowd = Crowd()
    with running(FaultyHub(fault)) as server:
        address = Address(server.port, "/subscribe", {})
        assert crowd.connect(address, CLIENTS, CLIENTS, narrow=False) == {}
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


def publish_on(crowd: Crowd) -> None:
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
            publish_on(crowd)


def test_a_closed_client_is_counted_and_not_waited_for() -> None:
    with crowd_at("closed") as (crowd, _):
        publish(crowd)
        while not crowd.reap():
            publish(crowd)
        assert crowd.stream.closed == 1
        assert len(crowd.readers) == CLIENTS - 1
        publish(crowd)


def test_a_client_that_is_closed_between_two_measurements_is_not_waited_for() -> None:
    with crowd_at("none") as (crowd, _):
        crowd.readers[0].give_up()
        result = loops.closed_loop(crowd, 0.1, IN_FLIGHT)
        assert result["closed"] == 1
        assert result["receivers"] == CLIENTS - 1


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
