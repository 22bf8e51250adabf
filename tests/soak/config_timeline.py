"""The configurations of one instance, in order, and what is known of when each came into force.

A configuration comes into force at some moment between its request and the answer. So at any
moment one is the oldest that can still be in force (`floor`: the last one answered), and all
behind it may be, in their order. Events carry the floor of the moment at which they were sent.
"""

from ryze.records import WebsocketConfig
from tests.soak.workload import passes

__all__ = ["Timeline"]


class Timeline:
    """See above; begins with a configuration that is in force."""

    def __init__(self, first: WebsocketConfig) -> None:
        self.configs = [first]
        # The oldest that may be in force.
        self.floor = 0

    def ask(self, config: WebsocketConfig) -> None:
        """From now on `config` may come into force."""
        self.configs.append(config)

    def answered(self) -> None:
        """The one that was asked for last is in force."""
        self.floor = len(self.configs) - 1

    @property
    def possible(self) -> list[WebsocketConfig]:
        """Those that may be in force now."""
        return self.configs[self.floor :]

    @property
    def may_be_on(self) -> bool:
        """A client may be admitted."""
        return any(config.enabled for config in self.possible)

    @property
    def may_be_off(self) -> bool:
        """A client may be refused."""
        return not all(config.enabled for config in self.possible)

    def first_passing(self, number: int, since: int, *, passing: bool = True) -> int | None:
        """The first configuration from `since` on that lets this event pass, or does not."""
        for index in range(since, len(self.configs)):
            if passes(self.configs[index], number) == passing:
                return index
        return None
