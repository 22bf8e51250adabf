"""Views: what a subscriber asked for, and how its protocol writes it.

Subscribers with equal views receive the same bytes: an audience groups its outboxes by view, and
an event is encoded once per view, whatever the number of subscribers. The hub knows bytes, not
frames: each protocol above it hands in its encodings (`ryze.websocket.views`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ryze.disconnects import Disconnect

__all__ = ["Encoding", "View"]


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """A protocol's way to write messages; one instance per encoding, compared by identity.

    Args:
        encode_message: the bytes of one message from one envelope (JSON document); pure, so that
            its result can be shared by all subscribers.
        encode_close: the last bytes of a connection; the disconnect has a code.
    """

    encode_message: Callable[[bytes], bytes]
    encode_close: Callable[[Disconnect], bytes]


class View(NamedTuple):
    """The form in which a subscriber receives its events.

    A tuple, as it is looked up in every flush: a frozen dataclass takes five times as long to hash.

    Args:
        encoding: writes the messages and the close.
    """

    encoding: Encoding
