"""A batch: the events of one instance that the next flush fans out, encoded once per view."""

from collections.abc import Sequence

import trio

from ryze.hub.view import View

__all__ = ["Batch", "Messages"]

# A larger batch would not make a flush cheaper; this bounds the memory that producers can claim
# per instance.
_MAX_EVENTS = 64
_MAX_BYTES = 1024 * 1024


class Messages:
    """Encoded messages in order, and the same bytes joined for a single ``send``."""

    __slots__ = ("joined", "parts")

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.parts = parts
        # With a single part this is that part: joining copies nothing then.
        self.joined = b"".join(parts)


class Batch:
    """Events of one instance, in the order in which they were published.

    Args:
        begun_at: time of its first event, on the hub's clock, in seconds.
    """

    __slots__ = ("_bytes", "_encoded", "_envelopes", "_flushed", "begun_at", "subscribers")

    def __init__(self, begun_at: float = 0) -> None:
        self.begun_at = begun_at
        # The JSON documents that subscribers receive; add() appends.
        self._envelopes: list[bytes] = []
        self._bytes = 0
        # Their messages by view, made at the first use; shared by all subscribers of the view.
        self._encoded: dict[View, Messages] = {}
        # Made at the first wait.
        self._flushed: trio.Event | None = None
        # Subscribers that have accepted these events; final once `flushed` is set.
        self.subscribers = 0

    def __len__(self) -> int:
        return len(self._envelopes)

    def add(self, envelope: bytes) -> None:
        """Append one event; not once a view has been encoded."""
        self._envelopes.append(envelope)
        self._bytes += len(envelope)

    @property
    def is_full(self) -> bool:
        """No further event may join before the flush."""
        return len(self._envelopes) >= _MAX_EVENTS or self._bytes >= _MAX_BYTES

    @property
    def flushed(self) -> trio.Event:
        """Set when the batch has been offered to every subscriber."""
        if self._flushed is None:
            self._flushed = trio.Event()
        return self._flushed

    def encode(self, view: View) -> Messages:
        """Return the messages of this view; nothing may be added from here on."""
        messages = self._encoded.get(view)
        if messages is None:
            encode_message = view.encoding.encode_message
            messages = Messages([encode_message(envelope) for envelope in self._envelopes])
            self._encoded[view] = messages
        return messages
