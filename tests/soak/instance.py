"""One instance: its script, its configurations, its ledger, its clients."""

import trio

from ryze.records import WebsocketConfig
from tests.soak.config_timeline import Timeline
from tests.soak.expected_stream import Ledger
from tests.soak.server import Server
from tests.soak.stream_checker import Listener
from tests.soak.workload import Script

__all__ = ["Stage"]

# How far publishers may be ahead of the slowest healthy client: less than a third of the 256
# messages that are buffered for it. When an instance is turned off and on again, it is not known
# of what was under way at either moment whether it will come out, and it is written off. So even
# if all of that is pending, a healthy client is never dropped.
_AHEAD = 80


class Stage:
    """An instance that exists.

    Args:
        server: where it is.
        name: its name.
        token: its TokenInstance.
        config: with which it was created.
        may_turn_off: its WebSocket may be turned off for a while.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        token: str,
        config: WebsocketConfig,
        *,
        may_turn_off: bool = False,
    ) -> None:
        self.server = server
        self.name = name
        self.token = token
        self.may_turn_off = may_turn_off
        self.timeline = Timeline(config)
        self.script = Script(server.url, name, token)
        self.ledger = Ledger(self.script, self.timeline)
        # Everybody who still needs the ledger, and those of them who keep up.
        self.listeners: set[Listener] = set()
        self.healthy: set[Listener] = set()
        # Where publishers wait for their clients.
        self._progress = trio.lowlevel.ParkingLot()
        self._smallest = len(self.script.frame(0, 1, media=False))

    def new_listener(self, *, first: bool = False) -> Listener:
        """A client that is about to connect; `listeners` holds it until it is discarded there."""
        listener = Listener(self.ledger, first=first)
        self.listeners.add(listener)
        return listener

    @property
    def room(self) -> int:
        """So many events may be published now."""
        if not self.timeline.may_be_on:
            return _AHEAD
        behind = max((listener.behind for listener in self.healthy), default=0)
        return _AHEAD - self.ledger.awaited - behind // self._smallest

    @property
    def is_settled(self) -> bool:
        """Nothing is under way any more: all healthy clients have all that may come out."""
        return not self.ledger.awaited and all(
            listener.has_all(self.ledger.end) for listener in self.healthy
        )

    def has_progressed(self, *, cut: bool) -> None:
        """Somebody has received something; with `cut`, forget what nobody needs any more."""
        self._progress.unpark_all()
        if cut:
            needed = (listener.position for listener in self.listeners)
            self.ledger.forget(min(needed, default=self.ledger.end))

    async def progress(self) -> None:
        """Wait until somebody has received something."""
        await self._progress.park()
