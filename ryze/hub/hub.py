"""The hub: the connections of this node by instance, and the intake of their events.

Publishing makes the envelope of an event, once, and appends it to the instance's batch; the flush
(`ryze.hub.flush`) fans batches out. A producer that is alone with its instance need not wait for
the flush: `publish_now` fans out on the spot where that overtakes nothing. Rules
(ARCHITECTURE.md, "Hub"):

- Everything but the flush and the back-pressure of producers is plain functions: between two
  awaits the hub is consistent.
- An event without subscribers, filtered out or ignored is dropped before any encoding.
- The configuration that counts is the one at the moment of `publish`.
- At most 64 events, or about 1 MiB of them, of one instance are unflushed: producers wait
  in `publish_when_ready`. No producer ever waits for a subscriber.

Nothing but `ryze.publishing` publishes here.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import trio

from ryze.changes import (
    AccountTokenRevoked,
    Change,
    InstanceDeleted,
    InstanceTokenChanged,
    SettingsChanged,
    WebsocketConfigured,
)
from ryze.disconnects import INSTANCE_DELETED, TOKEN_REVOKED, Disconnect
from ryze.events.event import Event, instance_data
from ryze.hub.audience import Audience
from ryze.hub.batch import Batch
from ryze.hub.flush import Flusher
from ryze.hub.outbox import Outbox
from ryze.records import DISABLED, Instance, WebsocketConfig
from ryze.telemetry.counters import HubCounters

__all__ = ["Hub", "HubStatistics"]


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """A snapshot of the hub; connections that have left are not in it.

    Args:
        instances: instances with at least one subscriber.
        subscribers: connections that receive events.
        lagging: subscribers with something pending.
        pending: messages pending, over all subscribers.
        pending_bytes: bytes of these messages.
        unflushed: events that the next flush will fan out.
    """

    instances: int
    subscribers: int
    lagging: int
    pending: int
    pending_bytes: int
    unflushed: int


class Hub:
    """All subscribers and producers of this node, by instance.

    Args:
        base_url: stands in every envelope (contract, section 4).
        max_frame_bytes: a larger envelope goes out without its media; 0 for no limit.
        clock: seconds that only go forward, for measuring; finer than Trio's.
    """

    def __init__(
        self,
        base_url: str,
        max_frame_bytes: int = 0,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._base_url = base_url
        self._max_frame_bytes = max_frame_bytes
        # Totals since the start.
        self.counters = HubCounters()
        # Instances with subscribers, by id; subscribed() and _remove() change it.
        self._audiences: dict[int, Audience] = {}
        # Instances with producer sockets, by id: outboxes with the hash of the token that opened
        # the connection; producing() changes it.
        self._producers: dict[int, dict[Outbox, str | None]] = {}
        self._flusher = Flusher(self.counters, clock, self._remove)
        # Tasks that wait until an instance has no producers left.
        self._producers_left = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Hub {self.statistics()}>"

    def statistics(self) -> HubStatistics:
        """Take a snapshot; costs a walk over all subscribers."""
        outboxes = self.outboxes()
        return HubStatistics(
            instances=len(self._audiences),
            subscribers=len(outboxes),
            lagging=sum(outbox.pending > 0 for outbox in outboxes),
            pending=sum(outbox.pending for outbox in outboxes),
            pending_bytes=sum(outbox.pending_bytes for outbox in outboxes),
            unflushed=self._flusher.unflushed,
        )

    # Connections

    @contextmanager
    def subscribed(
        self, instance: Instance, outbox: Outbox, token_hash: str | None = None
    ) -> Iterator[None]:
        """Deliver the events of `instance` to `outbox` while inside.

        Args:
            instance: its token stands in the envelopes.
            outbox: of a connection that the caller owns.
            token_hash: the token that opened the connection; None: it is never revoked.
        """
        audience = self._audiences.get(instance.id)
        if audience is None:
            audience = self._audiences[instance.id] = Audience(
                instance.id,
                instance.websocket or DISABLED,
                instance.settings,
                self._instance_data(instance),
                self._max_frame_bytes,
            )
        audience.add(outbox, token_hash)
        try:
            yield
        finally:
            self._remove(audience, outbox)

    @contextmanager
    def producing(
        self, instance: Instance, outbox: Outbox, token_hash: str | None = None
    ) -> Iterator[None]:
        """Count the peer of `outbox` as a producer of `instance` while inside.

        Args:
            instance: the instance that the producer publishes to.
            outbox: as for `subscribed`.
            token_hash: as for `subscribed`.
        """
        producers = self._producers.setdefault(instance.id, {})
        producers[outbox] = token_hash
        try:
            yield
        finally:
            producers.pop(outbox, None)
            if not producers and self._producers.get(instance.id) is producers:
                del self._producers[instance.id]
                self._producers_left.unpark_all()

    def has_subscribers(self, instance_id: int) -> bool:
        """Would an event of this instance reach anybody?"""
        return instance_id in self._audiences

    def connection_count(self, instance_id: int) -> int:
        """Count the connections of an instance, subscribers and producers."""
        audience = self._audiences.get(instance_id)
        subscribers = audience.size if audience else 0
        return subscribers + len(self._producers.get(instance_id, ()))

    def outboxes(self) -> list[Outbox]:
        """List the outboxes of all subscribers; costs a walk over them."""
        return [
            outbox for audience in self._audiences.values() for outbox, _ in audience.outboxes()
        ]

    def _remove(self, audience: Audience, outbox: Outbox) -> None:
        audience.remove(outbox)
        if not audience.size and self._audiences.get(audience.instance_id) is audience:
            del self._audiences[audience.instance_id]

    def _instance_data(self, instance: Instance) -> bytes:
        return instance_data(self._base_url, instance.name, instance.token)

    # Changes of configuration

    def follow(self, change: Change) -> None:
        """Act on a change of the registry: the next event and all connections obey it."""
        match change:
            case WebsocketConfigured(instance):
                self._configure(instance.id, instance.websocket or DISABLED)
            case SettingsChanged(instance):
                if audience := self._audiences.get(instance.id):
                    audience.ignore_chats(instance.settings)
            case InstanceTokenChanged(instance, old_token_hash):
                if audience := self._audiences.get(instance.id):
                    audience.instance_data = self._instance_data(instance)
                self.disconnect(instance.id, TOKEN_REVOKED, token_hash=old_token_hash)
            case InstanceDeleted(instance):
                self.disconnect(instance.id, INSTANCE_DELETED)
            case AccountTokenRevoked(token_hash):
                self._revoke(token_hash)

    def disconnect(
        self, instance_id: int, disconnect: Disconnect, *, token_hash: str | None = None
    ) -> None:
        """End connections of one instance, producers included.

        Events already received from a producer are still published.

        Args:
            instance_id: the instance.
            disconnect: the reason.
            token_hash: end only connections that this token opened; None: all of them.
        """
        for outbox in _opened_with(token_hash, self._producers.get(instance_id, {}).items()):
            outbox.close(disconnect)
        if audience := self._audiences.get(instance_id):
            for outbox in _opened_with(token_hash, audience.outboxes()):
                self._remove(audience, outbox)
                outbox.close(disconnect)

    def _configure(self, instance_id: int, config: WebsocketConfig) -> None:
        if audience := self._audiences.get(instance_id):
            audience.config = config

    def _revoke(self, token_hash: str) -> None:
        # A walk over all connections: some ten milliseconds for 100,000, and rare. An index by
        # token would cost each connection memory.
        for instance_id in {*self._audiences, *self._producers}:
            self.disconnect(instance_id, TOKEN_REVOKED, token_hash=token_hash)

    # Publishing

    def publish(self, instance_id: int, event: Event) -> Batch | None:
        """Append an event to the batch that the next flush, a moment away, fans out.

        Returns:
            The batch that it joined; None if no subscriber gets it.
        """
        self.counters.published += 1
        audience = self._audiences.get(instance_id)
        if audience is None or not audience.matches(event):
            self._count_discarded(audience, 1)
            return None
        return self._flusher.add(audience, audience.envelope(event))

    def publish_now(self, instance_id: int, events: deque[Event]) -> bool:
        """Take a batch from the left of `events` and fan it out on the spot.

        For a producer that is alone with its instance this saves the wait for the flush. Where it
        would hold up others or overtake them, nothing is taken.

        Returns:
            False if the next event needs `publish_when_ready`, even if some were taken.
        """
        audience = self._audiences.get(instance_id)
        found = len(events)
        if audience is None:
            self.counters.published += found
            self._count_discarded(None, found)
            events.clear()
            return True
        if not self._flusher.can_bypass(audience):
            return False
        batch = _take_batch(audience, events)
        taken, size = found - len(events), len(batch)
        self.counters.published += taken
        if taken > size:
            self._count_discarded(audience, taken - size)
        if size:
            self._flusher.fan_out(audience, batch)
        return not events or not audience.is_slow_to_encode(events[0])

    async def publish_when_ready(self, instance_id: int, event: Event) -> Batch | None:
        """Publish as soon as there is room; no checkpoint if that is at once.

        Cancelled, it has not published.
        """
        audience = self._audiences.get(instance_id)
        if audience is not None and audience.is_slow_to_encode(event) and audience.matches(event):
            # In a thread, or every other task would wait meanwhile; the event keeps the result.
            await trio.to_thread.run_sync(audience.select_data, event)
        # Checked here too: a coroutine that has nothing to wait for costs a tenth of a publish.
        if not self._flusher.has_room(self._audiences.get(instance_id)):
            await self.wait_for_room(instance_id)
        return self.publish(instance_id, event)

    async def wait_for_room(self, instance_id: int) -> None:
        """Apply back-pressure: wait while too much of this instance is unflushed.

        Returns without a checkpoint when there is room. Cancelling it loses nothing.
        """
        while not self._flusher.has_room(self._audiences.get(instance_id)):
            await self._flusher.wait_flush_ended()

    def _count_discarded(self, audience: Audience | None, events: int) -> None:
        """Count events that reach no subscriber, by reason."""
        if audience is None:
            self.counters.nobody_connected += events
        elif audience.config.enabled:
            self.counters.filtered += events
        else:
            self.counters.disabled += events

    # The flush

    async def run(self) -> NoReturn:
        """Fan out published events until cancelled, which ends all delivery."""
        await self._flusher.run()

    async def wait_flushed(self) -> None:
        """Wait until everything that has been published by now is fanned out."""
        await self._flusher.wait_flushed()

    async def wait_producers_gone(self) -> None:
        """Wait until no producer socket is left and everything it published is fanned out."""
        while self._producers:
            await self._producers_left.park()
        await self.wait_flushed()


def _take_batch(audience: Audience, events: deque[Event]) -> Batch:
    """Take events from the left until the batch is full or one is slow to encode."""
    batch = Batch()
    while events and not batch.is_full and not audience.is_slow_to_encode(events[0]):
        event = events.popleft()
        if audience.matches(event):
            batch.add(audience.envelope(event))
    return batch


def _opened_with(
    token_hash: str | None, outboxes: Iterable[tuple[Outbox, str | None]]
) -> list[Outbox]:
    """List the outboxes that this token opened; all of them where no token is given."""
    return [outbox for outbox, opener in outboxes if token_hash is None or opener == token_hash]
