"""An audience: the subscribers of one instance, and the filter that its events pass.

The filter is the WebSocket configuration (enabled, event types, media) and the ignored chats. The
configuration that counts is the one at the moment of publishing, so an event is matched and its
envelope made then; the audience's subscribers are grouped by view for the fan-out.
"""

from collections.abc import Iterator

from ryze.events.chat_filter import ignored_chats, is_of_chat
from ryze.events.event import Event
from ryze.events.media import may_have_base64
from ryze.hub.outbox import Outbox
from ryze.hub.view import View
from ryze.records import InstanceSettings, WebsocketConfig

__all__ = ["Audience"]

# From this size on media is cut out in a thread: that can take up to a microsecond per byte.
_THREAD_BYTES = 8 * 1024


class Audience:
    """The subscribers of one instance; it exists in the hub as long as there are any.

    Args:
        instance_id: the instance.
        config: its WebSocket configuration; replaced by the hub when it changes.
        settings: its settings, for the ignored chats.
        instance_data: the end of every envelope, encoded; replaced when the token changes.
        max_frame_bytes: a larger envelope goes out without its media; 0 for no limit.
    """

    __slots__ = (
        "_ignored_chats",
        "_max_frame_bytes",
        "config",
        "groups",
        "instance_data",
        "instance_id",
        "size",
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
        self.config = config
        self.instance_data = instance_data
        self._max_frame_bytes = max_frame_bytes
        # Endings of the jids whose events are dropped.
        self._ignored_chats = ignored_chats(settings)
        # Outboxes by view, each with the hash of the token that opened its connection; add() and
        # remove() change it. No group is empty.
        self.groups: dict[View, dict[Outbox, str | None]] = {}
        # Outboxes in all groups.
        self.size = 0

    # Subscribers

    def add(self, outbox: Outbox, token_hash: str | None) -> None:
        """Add a subscriber, which is not in here yet."""
        self.groups.setdefault(outbox.view, {})[outbox] = token_hash
        self.size += 1

    def remove(self, outbox: Outbox) -> None:
        """Remove a subscriber, if it is still here."""
        group = self.groups.get(outbox.view)
        if group is None or outbox not in group:
            return
        del group[outbox]
        self.size -= 1
        if not group:
            del self.groups[outbox.view]

    def outboxes(self) -> Iterator[tuple[Outbox, str | None]]:
        """Iterate over all outboxes and their token hashes; add and remove nothing meanwhile."""
        for group in self.groups.values():
            yield from group.items()

    def slices(self, size: int) -> list[tuple[View, list[Outbox]]]:
        """Copy the outboxes into lists of one view and of at most `size`."""
        slices: list[tuple[View, list[Outbox]]] = []
        for view, group in self.groups.items():
            members = list(group)
            for start in range(0, len(members), size):
                slices.append((view, members[start : start + size]))
        return slices

    # Policy

    def ignore_chats(self, settings: InstanceSettings) -> None:
        """Drop events of the chats that `settings` ignore, from the next event on."""
        self._ignored_chats = ignored_chats(settings)

    def matches(self, event: Event) -> bool:
        """Do its subscribers get this event at all?"""
        config = self.config
        return (
            config.enabled
            and (not config.events or event.type in config.events)
            and not (self._ignored_chats and is_of_chat(event, self._ignored_chats))
        )

    def is_slow_to_encode(self, event: Event) -> bool:
        """Would encoding it hold up the event loop?"""
        return (
            len(event.data) > _THREAD_BYTES
            and (not self.config.media_base64 or self._is_too_large(event))
            and may_have_base64(event.data)
        )

    def select_data(self, event: Event) -> bytes:
        """Return the event's data as its subscribers get it; computed once per event."""
        if not self.config.media_base64:
            return event.without_media()
        return event.with_media_omitted() if self._is_too_large(event) else event.data

    def envelope(self, event: Event) -> bytes:
        """Return the JSON document that its subscribers receive."""
        return event.envelope(self.instance_data, self.select_data(event))

    def _is_too_large(self, event: Event) -> bool:
        return 0 < self._max_frame_bytes < event.envelope_bytes(self.instance_data)
