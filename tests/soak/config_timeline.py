"""The configurations of one instance, in order, and the range that may be in force.

A configuration comes into force at some moment between its request and the response. So at any
moment the oldest that can be in force is known (`floor`: the last one confirmed), and all later
ones may be in force, in their order. Events carry the floor of the moment at which they were sent.
"""

from ryze.records import WebsocketConfig
from tests.soak.workload import passes

__all__ = ["ConfigTimeline"]


class ConfigTimeline:
    """See above; begins with a configuration that is in force."""

    def __init__(self, first: WebsocketConfig) -> None:
        self.configs = [first]
        # Index of the oldest configuration that may be in force.
        self.floor = 0

    def request(self, config: WebsocketConfig) -> None:
        """Add a configuration whose request is about to be sent: it may be in force from now."""
        self.configs.append(config)

    def confirm(self) -> None:
        """The response has come: the configuration requested last is in force."""
        self.floor = len(self.configs) - 1

    @property
    def possible(self) -> list[WebsocketConfig]:
        """The configurations that may be in force now."""
        return self.configs[self.floor :]

    @property
    def may_be_enabled(self) -> bool:
        """A subscriber may be admitted."""
        return any(config.enabled for config in self.possible)

    @property
    def may_be_disabled(self) -> bool:
        """A subscriber may be refused."""
        return not all(config.enabled for config in self.possible)

    def first_passing(self, number: int, since: int, *, passing: bool = True) -> int | None:
        """Index of the first configuration from `since` on that passes (or filters) the event."""
        for index in range(since, len(self.configs)):
            if passes(self.configs[index], number) == passing:
                return index
        return None
