"""The count of messages pending at an eviction is exact, whatever the server's limit is."""

from pathlib import Path

import pytest

from bench import eviction
from bench.eviction import EvictionOptions, _evictions_by_output, count_pending
from bench.peers.ryze import Ryze

SLOW = 2


class RyzeWithBuffer(Ryze):
    """The real server, with another limit than its default of 256."""

    def __init__(self, messages: int) -> None:
        super().__init__("http")
        self.environment = {**self.environment, "RYZE_CLIENT_BUFFER_MESSAGES": str(messages)}


@pytest.mark.parametrize("messages", [99, 100])
def test_pending_at_eviction_is_the_limit(messages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs /proc/net/tcp (Linux) to count the bytes in socket queues")
    monkeypatch.setattr(eviction, "_RESUME_SECONDS", 10)
    given = EvictionOptions(clients=4, slow=SLOW, read_rate=0, event_bytes=8000, max_events=1000)
    result = count_pending(RyzeWithBuffer(messages), given)
    assert [each["pending"] for each in result["clients"]] == [messages] * SLOW
    assert [each["close_code"] for each in result["clients"]] == [4008] * SLOW
    for each in result["clients"]:
        # Complete messages, and all that the system had taken: none was withdrawn.
        assert each["received"] in (each["taken"], each["taken"] + 1)
        assert each["dropped_by"] == each["taken"] + messages + 1


def test_evictions_are_found_by_the_servers_output() -> None:
    """Printed numbers count from 1: event 12 is the third after the first nine."""
    result = {
        "first": 9,
        "frame_size": 100,
        "ports": [5001, 5002, 5003],
        "taken": [{"5001": 250, "5002": 300}, {"5001": 350, "5002": 300}, {"5002": 390}],
    }
    # Taken after the event before the eviction, or the last known if there was no eviction.
    assert _evictions_by_output(result, {5001: 12}) == [(12, 3), (None, 3), (None, None)]
