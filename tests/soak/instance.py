"""An instance under test: its workload, configurations, expected stream and subscribers."""

import trio

from ryze.records import WebsocketConfig
from tests.soak.config_timeline import ConfigTimeline
from tests.soak.expected_stream import ExpectedStream
from tests.soak.server import Server
from tests.soak.stream_checker import StreamChecker
from tests.soak.workload import Workload

__all__ = ["Instance"]

# Events that producers may be ahead of the slowest healthy subscriber: less than a third of
# the 256 messages that are buffered for it. When an instance is disabled and enabled again, it is
# not known of the events in flight at either moment whether they will be received, and they are
# written off. So even if all of those are pending, a healthy subscriber is never evicted.
_MOST_AHEAD = 80


class Instance:
    """An instance that exists on the server.

    Args:
        server: its server.
        name: its name.
        token: its TokenInstance.
        config: the configuration it was created with.
        can_be_disabled: its WebSocket may be disabled for a while.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        token: str,
        config: WebsocketConfig,
        *,
        can_be_disabled: bool = False,
    ) -> None:
        self.server = server
        self.name = name
        self.token = token
        self.can_be_disabled = can_be_disabled
        self.timeline = ConfigTimeline(config)
        self.workload = Workload(server.url, name, token)
        self.expected = ExpectedStream(self.workload, self.timeline)
        # The checkers that still need the expected stream, and those of healthy subscribers.
        self.checkers: set[StreamChecker] = set()
        self.healthy: set[StreamChecker] = set()
        # Producers that wait for their subscribers.
        self._progress = trio.lowlevel.ParkingLot()
        self._smallest_frame = len(self.workload.frame(0, 1, media=False))

    def new_checker(self, *, first: bool = False) -> StreamChecker:
        """A checker for a subscriber that is about to connect; discard it from `checkers`."""
        checker = StreamChecker(self.expected, first=first)
        self.checkers.add(checker)
        return checker

    @property
    def room(self) -> int:
        """The number of events that may be published now."""
        if not self.timeline.may_be_enabled:
            return _MOST_AHEAD
        behind = max((checker.bytes_behind for checker in self.healthy), default=0)
        return _MOST_AHEAD - self.expected.pending - behind // self._smallest_frame

    @property
    def is_settled(self) -> bool:
        """No event is pending, and all healthy subscribers have received everything."""
        return not self.expected.pending and all(
            checker.has_all(self.expected.end) for checker in self.healthy
        )

    def notify_progress(self, *, cut: bool) -> None:
        """Wake the producers after a subscriber has received something.

        Args:
            cut: drop the part of the expected stream that no checker needs any more.
        """
        self._progress.unpark_all()
        if cut:
            needed = (checker.position for checker in self.checkers)
            self.expected.forget(min(needed, default=self.expected.end))

    async def wait_progress(self) -> None:
        """Wait until a subscriber has received something."""
        await self._progress.park()
