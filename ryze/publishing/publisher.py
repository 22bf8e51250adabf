"""The publisher: the one way from accepted events to their subscribers, in order.

It is the place that decides per instance what happens to its events. Today there is nothing to
decide, as every instance is ephemeral: its events go straight to the hub and are kept nowhere; with
nobody connected they are dropped before any encoding. An event has room for an id, a sequence
number and a time (`ryze.events.event.Event`), which an ephemeral event does not use.
"""

from collections import deque
from collections.abc import Sequence

import trio

from ryze.events.event import Event
from ryze.hub.hub import Hub
from ryze.records import Instance

__all__ = ["Publisher"]

# Events between two yields of a producer that never has to wait.
_EVENTS_PER_SLICE = 256


class Publisher:
    """Hands events to all subscribers of their instance.

    Args:
        hub: the subscribers of this node.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def publish(self, instance: Instance, events: Sequence[Event]) -> int:
        """Publish events in order; returns when the flush of the last one is over.

        Waits while too much of the instance is unflushed (back-pressure). Cancelled half-way, it
        has published the events before that point.

        Returns:
            The number of subscribers that the last event was handed to.
        """
        hub = self._hub
        batch = last_batch = None
        for index, event in enumerate(events):
            if index and index % _EVENTS_PER_SLICE == 0:
                await trio.lowlevel.checkpoint()
            batch = await hub.publish_when_ready(instance.id, event)
            last_batch = batch or last_batch
        if last_batch is not None:
            await last_batch.flushed.wait()
        return batch.subscribers if batch else 0

    async def publish_unconfirmed(self, instance: Instance, events: deque[Event]) -> None:
        """Publish events in order, taking each from the left; does not wait for the last flush.

        For a producer socket, which gets no response. Waits while too much of the instance is
        unflushed (back-pressure); `events` is empty when it returns. Cancelled, it leaves the
        events that are not published.
        """
        hub, instance_id = self._hub, instance.id
        while events:
            if not hub.publish_now(instance_id, events):
                await hub.publish_when_ready(instance_id, events[0])
                events.popleft()
            elif events:
                await trio.lowlevel.checkpoint()
