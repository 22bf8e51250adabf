"""The flush: one task that fans out published events, once per scheduler tick.

Theory. System calls are the whole cost of a fan-out. So publishing only appends to the batch of
an audience; the flush encodes each batch once per view, joins it, and each subscriber gets it in
one `Outbox.offer`, which is one ``send`` where the subscriber keeps up. A flush over many
subscribers yields to other tasks; the order of each subscriber's events is kept all the same.
"""

from collections.abc import Callable
from typing import NoReturn

import structlog
import trio

from ryze.hub.audience import Audience
from ryze.hub.batch import Batch
from ryze.hub.outbox import Outbox
from ryze.hub.view import View
from ryze.telemetry.counters import HubCounters

__all__ = ["Flusher"]

# Subscribers between two yields of a flush: about a millisecond of system calls.
_SLICE = 256

_log = structlog.get_logger("ryze.hub")


class Flusher:
    """The batches that are not yet fanned out, and the task that does it.

    Args:
        counters: counts deliveries and measures flushes.
        clock: seconds that only go forward, for measuring.
        remove: removes a subscriber that accepts no more events from the hub.
    """

    def __init__(
        self,
        counters: HubCounters,
        clock: Callable[[], float],
        remove: Callable[[Audience, Outbox], None],
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._remove = remove
        # Batches for the next flush, none of them empty: add() begins one, the flush takes it
        # out. By audience and not by instance: a subscriber that comes after the last one has left
        # is in another audience, and gets nothing older than itself.
        self._batches: dict[Audience, Batch] = {}
        # Set when a batch is begun; the flush replaces it before it takes up the batches.
        self._wakeup = trio.Event()
        # A flush is under way; the number of flushes that are over.
        self._is_flushing = False
        self._flushes = 0
        # Tasks that wait for the end of a flush.
        self._flush_ended = trio.lowlevel.ParkingLot()

    @property
    def unflushed(self) -> int:
        """Events that the next flush will fan out."""
        return sum(map(len, self._batches.values()))

    def add(self, audience: Audience, envelope: bytes) -> Batch:
        """Append an event to the batch of an audience; returns that batch."""
        batch = self._batches.get(audience)
        if batch is None:
            batch = self._batches[audience] = Batch(self._clock())
            self._wakeup.set()
        batch.add(envelope)
        return batch

    def has_room(self, audience: Audience | None) -> bool:
        """May another event of this audience be added?"""
        batch = self._batches.get(audience) if audience else None
        return batch is None or not batch.is_full

    def can_bypass(self, audience: Audience) -> bool:
        """May `fan_out` run at once, without overtaking a batch or delaying other tasks?"""
        return not self._is_flushing and audience not in self._batches and audience.size <= _SLICE

    def fan_out(self, audience: Audience, batch: Batch) -> None:
        """Offer a batch to all subscribers at once; only where `can_bypass` allows it.

        Not timed: that would cost a microsecond per event of a producer that sends single events.
        """
        for view, outboxes in audience.slices(_SLICE):
            self._offer(audience, batch, view, outboxes)
        self._counters.delivered += len(batch) * batch.subscribers

    async def run(self) -> NoReturn:
        """Fan out batches until cancelled; cancelling it ends all delivery."""
        while True:
            await self._wakeup.wait()
            self._wakeup = trio.Event()
            self._is_flushing = True
            # Batches that are begun meanwhile are for the next flush.
            for audience in list(self._batches):
                await self._flush(audience, self._batches.pop(audience))
            self._is_flushing = False
            self._flushes += 1
            self._flush_ended.unpark_all()

    async def wait_flush_ended(self) -> None:
        """Wait until the current or next flush is over. Cancelling it loses nothing."""
        await self._flush_ended.park()

    async def wait_flushed(self) -> None:
        """Wait until everything that has been added by now is fanned out."""
        # Counted, as producers that never pause would keep the batches from ever being empty.
        last = self._flushes + self._is_flushing + self._wakeup.is_set()
        while self._flushes < last:
            await self._flush_ended.park()

    async def _flush(self, audience: Audience, batch: Batch) -> None:
        started_at = self._clock()
        for index, (view, outboxes) in enumerate(audience.slices(_SLICE)):
            if index:
                await trio.lowlevel.checkpoint()
            self._offer(audience, batch, view, outboxes)
        batch.flushed.set()
        counters = self._counters
        counters.delivered += len(batch) * batch.subscribers
        counters.flush_events.observe(len(batch))
        counters.flush_lag.observe(started_at - batch.begun_at)
        counters.flush_seconds.observe(self._clock() - started_at)

    def _offer(self, audience: Audience, batch: Batch, view: View, outboxes: list[Outbox]) -> None:
        messages = batch.encode(view)
        batch.subscribers += len(outboxes)
        for outbox in outboxes:
            try:
                if outbox.offer(messages):
                    continue
            except Exception:
                # The one place for this worker: a bug in one subscriber's outbox ends that
                # subscriber.
                _log.exception("offer failed", outbox=repr(outbox))
                outbox.close_after_bug()
            batch.subscribers -= 1
            self._remove(audience, outbox)
