"""The count of what was pending is exact, whatever the server's bound is."""

from pathlib import Path

import pytest

from bench import eviction as dropping
from bench.eviction import _drops_by_lines, count_pending
from bench.peers.ryze import Ryze

CLIENTS, SLOW = 4, 2
EVENT_BYTES = 8000


class RyzeWithBuffer(Ryze):
    """The real server, with another bound than the one that it is known for."""

    def __init__(self, messages: int) -> None:
        super().__init__("http")
        self.environment = {**self.environment, "RYZE_CLIENT_BUFFER_MESSAGES": str(messages)}


@pytest.mark.parametrize("messages", [99, 100])
def test_pending_when_dropped(messages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("/proc/net/tcp is not here: it is Linux that says what its buffers hold")
    monkeypatch.setattr(dropping, "_RESUME_SECONDS", 10)
    result = count_pending(RyzeWithBuffer(messages), CLIENTS, SLOW, 0, EVENT_BYTES, most=1000)
    assert [each["pending"] for each in result["clients"]] == [messages] * SLOW
    assert [each["close_code"] for each in result["clients"]] == [4008] * SLOW
    for each in result["clients"]:
        # Whole messages, and all that the system had taken: nothing was taken back.
        assert each["received"] in (each["taken"], each["taken"] + 1)
        assert each["dropped_by"] == each["taken"] + messages + 1


def test_who_was_dropped_by_the_lines_that_a_program_writes() -> None:
    """They count from 1: event 12 is the third after the first nine."""
    result = {
        "first": 9,
        "frame_size": 100,
        "ports": [5001, 5002, 5003],
        "taken": [{"5001": 250, "5002": 300}, {"5001": 350, "5002": 300}, {"5002": 390}],
    }
    # After the event before the one that dropped it; what is known last of who was not dropped.
    assert _drops_by_lines(result, {5001: 12}) == [(12, 3), (None, 3), (None, None)]
