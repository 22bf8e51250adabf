"""Who is connected, and how an event reaches them.

Theory. Publishing encodes an event, once, and appends it to the instance's batch; one task, the
flush, hands batches out, once a scheduler tick: the frames of a batch are joined once, and each
client gets them in one `Outbox.offer`. System calls are the whole cost of a fan-out,
and this is how few of them there can be. A publisher that is alone with its instance need not
wait for that turn: `publish_now` hands out what it has read, when no flush is under way, nothing
waits and the clients are few. Rules (ARCHITECTURE.md, "Hub"):

- Everything but the flush and the waiting of publishers is plain functions: between two awaits
  the hub is consistent.
- Nobody connected, or the event filtered out or ignored: it is dropped before any encoding.
- The configuration that counts is the one at the moment of `publish`.
- At most 64 events, or about 1 MiB of them, of one instance wait for the flush: publishers wait
  in `publish_when_ready`. Nobody ever waits for a client.
- A flush over many clients yields now and then; each client's order is kept all the same.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import structlog
import trio

from ryze.disconnects import TOKEN_REVOKED, Disconnect
from ryze.events.chat_filter import ignored_chats, is_of_chat
from ryze.events.event import Event, instance_data
from ryze.events.media import may_have_base64
from ryze.hub.outbox import Outbox
from ryze.records import DISABLED, Instance, InstanceSettings, WebsocketConfig
from ryze.telemetry.counters import HubCounters
from ryze.websocket.server_frames import Frames, deflated_text_frame, text_frame

__all__ = ["Batch", "Hub", "HubStatistics"]

# What may wait for the flush, for one instance: more would not make a flush cheaper, and
# this bounds the memory that publishers can claim.
_BATCH_EVENTS = 64
_BATCH_BYTES = 1024 * 1024

# Clients between two yields of a flush: about a millisecond of system calls.
_CLIENTS_PER_SLICE = 256

# From here on media is cut out in a thread: it can take up to a microsecond a byte.
_HEAVY_BYTES = 8 * 1024

# Events between two yields of a publisher that never has to wait.
_EVENTS_PER_SLICE = 256

_log = structlog.get_logger("ryze.hub")


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """The hub at this moment; what is gone has left no trace in it.

    Args:
        instances: those with at least one client.
        clients: connections that receive events.
        lagging: clients with something pending.
        pending: messages pending, over all clients.
        pending_bytes: bytes of their frames.
        waiting: events that wait for the flush.
    """

    instances: int
    clients: int
    lagging: int
    pending: int
    pending_bytes: int
    waiting: int


class Batch:
    """The events of one instance that the next flush hands out.

    Args:
        begun_at: when its first event came, on the hub's clock.
    """

    __slots__ = ("_bytes", "_deflated", "_flushed", "_payloads", "_plain", "begun_at", "clients")

    def __init__(self, begun_at: float = 0) -> None:
        self.begun_at = begun_at
        # The encoded envelopes, in publish order.
        self._payloads: list[bytes] = []
        self._bytes = 0
        # Their frames, made at the first use and shared by all clients.
        self._plain: Frames | None = None
        self._deflated: Frames | None = None
        # There once somebody waits, or it is over.
        self._flushed: trio.Event | None = None
        # How many clients these events were handed to; final once `flushed` is set.
        self.clients = 0

    def __len__(self) -> int:
        return len(self._payloads)

    def add(self, payload: bytes) -> None:
        """Append one encoded envelope."""
        self._payloads.append(payload)
        self._bytes += len(payload)

    @property
    def is_full(self) -> bool:
        """No further event may join before the flush."""
        return len(self._payloads) >= _BATCH_EVENTS or self._bytes >= _BATCH_BYTES

    @property
    def flushed(self) -> trio.Event:
        """Set when all clients have been handed its events."""
        if self._flushed is None:
            self._flushed = trio.Event()
        return self._flushed

    @property
    def plain(self) -> Frames:
        """The frames of all events; nothing may be added from here on."""
        if self._plain is None:
            self._plain = Frames([text_frame(payload) for payload in self._payloads])
        return self._plain

    @property
    def deflated(self) -> Frames:
        """Likewise for clients that have negotiated permessage-deflate."""
        if self._deflated is None:
            self._deflated = Frames([deflated_text_frame(payload) for payload in self._payloads])
        return self._deflated


class _Audience:
    """One instance in the hub: there as long as it has clients."""

    __slots__ = (
        "_max_frame_bytes",
        "config",
        "ignored",
        "instance_data",
        "instance_id",
        "outboxes",
    )

    def __init__(
        self,
        instance_id: int,
        config: WebsocketConfig,
        settings: InstanceSettings,
        instance_data: bytes,
        max_frame_bytes: int,
    ) -> None:
        self.instance_id = instance_id
        # A larger frame goes without its media; 0 for no limit.
        self._max_frame_bytes = max_frame_bytes
        # What its clients get from the next event on.
        self.config = config
        # The chats that it does not want to hear of, likewise.
        self.ignored = ignored_chats(settings)
        # The end of every envelope, encoded once.
        self.instance_data = instance_data
        # Its clients in the order in which they came, each with the key of its token.
        self.outboxes: dict[Outbox, str | None] = {}

    def wants(self, event: Event) -> bool:
        """Do its clients get this event at all?"""
        config = self.config
        return (
            config.enabled
            and (not config.events or event.type in config.events)
            and not (self.ignored and is_of_chat(event, self.ignored))
        )

    def is_heavy(self, event: Event) -> bool:
        """Would encoding it take so long that others notice?"""
        return (
            len(event.data) > _HEAVY_BYTES
            and (not self.config.media_base64 or self._is_too_large(event))
            and may_have_base64(event.data)
        )

    def data_of(self, event: Event) -> bytes:
        """What its clients get of the event's data; worked out once."""
        if not self.config.media_base64:
            return event.without_media()
        return event.with_media_omitted() if self._is_too_large(event) else event.data

    def encode(self, event: Event) -> bytes:
        return event.envelope(self.instance_data, self.data_of(event))

    def _is_too_large(self, event: Event) -> bool:
        return 0 < self._max_frame_bytes < event.envelope_bytes(self.instance_data)


class Hub:
    """The registry of all clients, and the flush.

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
        self._clock = clock
        # What has happened so far.
        self.counters = HubCounters()
        # Instances with clients, by id; subscribe() and its end change it.
        self._audiences: dict[int, _Audience] = {}
        # Instances with publishers, by id, each with the key of its token; publishing() and its
        # end change it.
        self._publishers: dict[int, dict[Outbox, str | None]] = {}
        # What waits for the flush, never an empty batch: publish() begins one, the flush takes it
        # out. Not by id: who comes after the last client has left is another audience, and gets
        # nothing older than itself.
        self._batches: dict[_Audience, Batch] = {}
        # Set when a batch is begun; the flush replaces it before it takes up what there is.
        self._wakeup = trio.Event()
        # Whether a flush is under way; and how many are over.
        self._flushing = False
        self._flushes = 0
        # Those who wait for the end of a flush.
        self._waiting = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Hub {self.statistics()}>"

    def statistics(self) -> HubStatistics:
        """A snapshot; costs a walk over all clients."""
        outboxes = self.outboxes()
        return HubStatistics(
            instances=len(self._audiences),
            clients=len(outboxes),
            lagging=sum(outbox.pending > 0 for outbox in outboxes),
            pending=sum(outbox.pending for outbox in outboxes),
            pending_bytes=sum(outbox.pending_bytes for outbox in outboxes),
            waiting=sum(map(len, self._batches.values())),
        )

    # Clients

    @contextmanager
    def subscribed(
        self, instance: Instance, outbox: Outbox, key: str | None = None
    ) -> Iterator[None]:
        """While inside, `outbox` gets the events of `instance`.

        Args:
            instance: its token stands in the frames.
            outbox: of a connection that the caller owns.
            key: which token opened the connection, for `revoke`; None: it is never revoked.
        """
        audience = self._audiences.get(instance.id)
        if audience is None:
            audience = self._audiences[instance.id] = _Audience(
                instance.id,
                instance.websocket or DISABLED,
                instance.settings,
                self._instance_data(instance),
                self._max_frame_bytes,
            )
        audience.outboxes[outbox] = key
        try:
            yield
        finally:
            self._leave(audience, outbox)

    @contextmanager
    def publishing(
        self, instance: Instance, outbox: Outbox, key: str | None = None
    ) -> Iterator[None]:
        """While inside, the peer of `outbox` publishes events of `instance`.

        Args:
            instance: as above.
            outbox: as above.
            key: see `subscribed`.
        """
        publishers = self._publishers.setdefault(instance.id, {})
        publishers[outbox] = key
        try:
            yield
        finally:
            publishers.pop(outbox, None)
            if not publishers and self._publishers.get(instance.id) is publishers:
                del self._publishers[instance.id]
                self._waiting.unpark_all()

    def has_clients(self, instance_id: int) -> bool:
        """Is anybody there to receive an event of this instance?"""
        return instance_id in self._audiences

    def connection_count(self, instance_id: int) -> int:
        """How many connections this instance has, publishers included."""
        audience = self._audiences.get(instance_id)
        subscribers = len(audience.outboxes) if audience else 0
        return subscribers + len(self._publishers.get(instance_id, ()))

    def outboxes(self) -> list[Outbox]:
        """Those of all clients; publishers' are not among them."""
        return [outbox for audience in self._audiences.values() for outbox in audience.outboxes]

    def configure(self, instance_id: int, config: WebsocketConfig) -> None:
        """From the next event on, the clients of this instance get what `config` says."""
        if audience := self._audiences.get(instance_id):
            audience.config = config

    def change_settings(self, instance_id: int, settings: InstanceSettings) -> None:
        """From the next event on, this instance's events are dropped as `settings` say."""
        if audience := self._audiences.get(instance_id):
            audience.ignored = ignored_chats(settings)

    def renew_token(self, instance: Instance) -> None:
        """From the next event on, the frames of this instance carry its token of now."""
        if audience := self._audiences.get(instance.id):
            audience.instance_data = self._instance_data(instance)

    def disconnect(
        self, instance_id: int, disconnect: Disconnect, *, key: str | None = None
    ) -> None:
        """End every connection of one instance, publishers included.

        What has come in from a publisher is still published.

        Args:
            instance_id: see above.
            disconnect: why.
            key: end only those that this token opened.
        """
        for outbox in _opened_with(key, self._publishers.get(instance_id, {})):
            outbox.close(disconnect)
        if audience := self._audiences.get(instance_id):
            for outbox in _opened_with(key, audience.outboxes):
                self._leave(audience, outbox)
                outbox.close(disconnect)

    def revoke(self, key: str) -> None:
        """End every connection that was opened with this token: a walk over all connections."""
        for instance_id in {*self._audiences, *self._publishers}:
            self.disconnect(instance_id, TOKEN_REVOKED, key=key)

    def _instance_data(self, instance: Instance) -> bytes:
        return instance_data(self._base_url, instance.name, instance.token)

    def _leave(self, audience: _Audience, outbox: Outbox) -> None:
        audience.outboxes.pop(outbox, None)
        if not audience.outboxes and self._audiences.get(audience.instance_id) is audience:
            del self._audiences[audience.instance_id]

    # Publishing

    def publish(self, instance_id: int, event: Event) -> Batch | None:
        """Append an event to what the next flush hands out, which is a moment away.

        Returns:
            The batch that it joined; None if there is nobody whom it concerns.
        """
        self.counters.published += 1
        audience = self._audiences.get(instance_id)
        if audience is None or not audience.wants(event):
            self._discarded(audience, 1)
            return None
        batch = self._batches.get(audience)
        if batch is None:
            batch = self._batches[audience] = Batch(self._clock())
            self._wakeup.set()
        batch.add(audience.encode(event))
        return batch

    def publish_now(self, instance_id: int, events: deque[Event]) -> bool:
        """Take a batch from the left of `events` and hand it out on the spot.

        For a publisher that is alone with its instance this saves the flush's turn. Where it
        would hold up others or overtake them, nothing happens; `publish_when_ready` is for that.

        Returns:
            Whether it has been done.
        """
        audience = self._audiences.get(instance_id)
        found = len(events)
        if audience is None:
            self.counters.published += found
            self._discarded(None, found)
            events.clear()
            return True
        is_in_turn = not self._flushing and audience not in self._batches
        if not is_in_turn or len(audience.outboxes) > _CLIENTS_PER_SLICE:
            return False
        batch = Batch()
        while events and not batch.is_full and not audience.is_heavy(events[0]):
            event = events.popleft()
            if audience.wants(event):
                batch.add(audience.encode(event))
        taken, size = found - len(events), len(batch)
        self.counters.published += taken
        if taken > size:
            self._discarded(audience, taken - size)
        if size:
            # Not timed: that costs a microsecond, here for each event of a producer at its ease.
            self._hand_out(audience, batch, list(audience.outboxes))
            self.counters.delivered += size * batch.clients
        return not events or not audience.is_heavy(events[0])

    async def wait_for_room(self, instance_id: int) -> None:
        """Back-pressure: wait while too much of this instance waits for the flush.

        Returns without a checkpoint when there is room. Cancelling it loses nothing.
        """
        while self._is_full(instance_id):
            await self._waiting.park()

    async def publish_when_ready(self, instance_id: int, event: Event) -> Batch | None:
        """`publish`, as soon as there is room; no checkpoint if that is at once.

        Cancelled, it has not published.
        """
        audience = self._audiences.get(instance_id)
        if audience is not None and audience.is_heavy(event) and audience.wants(event):
            # Or everybody else would wait for as long as it takes.
            await trio.to_thread.run_sync(audience.data_of, event)
        await self.wait_for_room(instance_id)
        return self.publish(instance_id, event)

    async def publish_all(self, instance_id: int, events: Sequence[Event]) -> int:
        """Publish events in order, waiting for room, and for the flush of the last one.

        Cancelled half-way, it has published the events before that point.

        Returns:
            The number of connections to which the last event was handed.
        """
        batch = last_batch = None
        for index, event in enumerate(events):
            if index and index % _EVENTS_PER_SLICE == 0:
                await trio.lowlevel.checkpoint()
            batch = await self.publish_when_ready(instance_id, event)
            last_batch = batch or last_batch
        if last_batch is not None:
            await last_batch.flushed.wait()
        return batch.clients if batch else 0

    def _discarded(self, audience: _Audience | None, events: int) -> None:
        """Count events that nobody gets, by why."""
        if audience is None:
            self.counters.nobody += events
        elif audience.config.enabled:
            self.counters.filtered += events
        else:
            self.counters.disabled += events

    def _is_full(self, instance_id: int) -> bool:
        audience = self._audiences.get(instance_id)
        batch = self._batches.get(audience) if audience else None
        return batch is not None and batch.is_full

    # The flush

    async def run(self) -> NoReturn:
        """Hand out what is published, for ever; cancelling it ends all delivery."""
        while True:
            await self._wakeup.wait()
            self._wakeup = trio.Event()
            self._flushing = True
            # What is begun meanwhile is for the next flush.
            for audience in list(self._batches):
                await self._flush(audience, self._batches.pop(audience))
            self._flushing = False
            self._flushes += 1
            self._waiting.unpark_all()

    async def flushed(self) -> None:
        """Wait until everything that has been published by now is handed out."""
        # Counted, as publishers that never pause would keep it from ever being all.
        last = self._flushes + self._flushing + self._wakeup.is_set()
        while self._flushes < last:
            await self._waiting.park()

    async def quiet(self) -> None:
        """Wait until all publishers have gone, and what they have published is handed out."""
        while self._publishers:
            await self._waiting.park()
        await self.flushed()

    async def _flush(self, audience: _Audience, batch: Batch) -> None:
        taken_up_at = self._clock()
        outboxes = list(audience.outboxes)
        for start in range(0, len(outboxes), _CLIENTS_PER_SLICE):
            if start:
                await trio.lowlevel.checkpoint()
            self._hand_out(audience, batch, outboxes[start : start + _CLIENTS_PER_SLICE])
        batch.flushed.set()
        counters = self.counters
        counters.delivered += len(batch) * batch.clients
        counters.flush_events.observe(len(batch))
        counters.flush_lag.observe(taken_up_at - batch.begun_at)
        counters.flush_seconds.observe(self._clock() - taken_up_at)

    def _hand_out(self, audience: _Audience, batch: Batch, outboxes: list[Outbox]) -> None:
        plain = batch.plain
        batch.clients += len(outboxes)
        for outbox in outboxes:
            try:
                if outbox.offer(batch.deflated if outbox.compressed else plain):
                    continue
            except Exception:
                # The one place for this worker: a bug in one client's outbox ends that client.
                _log.exception("offer failed", outbox=repr(outbox))
                outbox.close_abruptly()
            batch.clients -= 1
            self._leave(audience, outbox)


def _opened_with(key: str | None, outboxes: dict[Outbox, str | None]) -> list[Outbox]:
    """Those that this token opened; all of them where no token is named."""
    return [outbox for outbox, opener in outboxes.items() if key is None or opener == key]
