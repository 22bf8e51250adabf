"""What the end of a connection means: stop, give up, or come back, and after what pause.

However a connection ends, the end is one `Ended`, with a close code or an HTTP status in it;
`what_next` says what that means (contract, section 4), `Pauses` how long to wait. All of it is
plain code: no network, no clock, no dice of its own.
"""

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass

from ryze.errors import RyzeError

__all__ = [
    "ABNORMAL",
    "UNTRUSTED",
    "ConnectionEnded",
    "Ended",
    "ListenRefused",
    "Next",
    "Pauses",
    "what_next",
]

# The close code of RFC 6455 for a connection that is gone without one.
ABNORMAL = 1006
# And the one for a server whose certificate is not to be trusted.
UNTRUSTED = 1015

# A connection that lasted this long was a good one: the next pause is short again.
_STEADY_SECONDS = 10.0


@dataclass(frozen=True)
class Ended:
    """How a connection, or the attempt to make one, came to its end.

    Args:
        code: the WebSocket close code (1000 and more) or the HTTP status (less than 1000).
        reason: what the other side said, or what went wrong.
        retry_after: the seconds of ``Retry-After``, if the server named them.
        lasted_seconds: how long events could come.
    """

    code: int
    reason: str = ""
    retry_after: float | None = None
    lasted_seconds: float = 0.0

    def __str__(self) -> str:
        if self.code in (ABNORMAL, UNTRUSTED):
            return self.reason or "connection lost"
        kind = "HTTP" if self.code < 1000 else "close code"
        return f"{self.reason} ({kind} {self.code})" if self.reason else f"{kind} {self.code}"


class ConnectionEnded(RyzeError):
    """A connection has ended, or could not be made, and not because we wanted it.

    Args:
        ended: how.
    """

    def __init__(self, ended: Ended) -> None:
        super().__init__(str(ended))
        self.ended = ended


class ListenRefused(ConnectionEnded):
    """The server does not want us, and trying again would not change that."""


class Next(enum.Enum):
    """What a client does after the end of a connection."""

    STOP = "it is over: the server closed in the ordinary way"
    GIVE_UP = "something must be put right first; trying again would not help"
    BACK_OFF = "come back, after longer and longer pauses"
    COME_BACK_SOON = "come back after a short random wait, as everybody was sent away at once"
    COME_BACK_WHEN_TOLD = "come back when the server said"


_NEXT = {
    408: Next.BACK_OFF,  # Request Timeout: the handshake was too slow
    425: Next.BACK_OFF,  # Too Early, from a balancer
    429: Next.COME_BACK_WHEN_TOLD,
    1000: Next.STOP,
    1002: Next.GIVE_UP,  # protocol error
    1003: Next.GIVE_UP,  # cannot accept this type of data
    1007: Next.GIVE_UP,  # invalid UTF-8
    1008: Next.GIVE_UP,  # policy violation
    1009: Next.GIVE_UP,  # message too big
    1010: Next.GIVE_UP,  # an extension is missing
    1012: Next.COME_BACK_SOON,
    UNTRUSTED: Next.GIVE_UP,
}


def what_next(code: int) -> Next:
    """What to do after a close code (1000 and more) or an HTTP status (less than 1000).

    Codes that nobody has thought of mean "come back": better one attempt too many than a
    listener that is gone for good.
    """
    if code in _NEXT:
        return _NEXT[code]
    refused = code < 500 or 4500 <= code <= 4999
    return Next.GIVE_UP if refused else Next.BACK_OFF


class Pauses:
    """How long to wait before the next attempt: doubling, with full jitter.

    Args:
        uniform: ``random.uniform``, or something that a test can foresee.
    """

    FIRST = 0.5
    LONGEST = 30.0
    SHORT = 2.0

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        # The upper end of the next pause; doubles with each, starts anew after a good connection.
        self._upper = self.FIRST

    def after(self, ended: Ended) -> float | None:
        """The seconds to wait, or None if this was the ordinary end.

        Raises:
            ListenRefused: there is no use in trying again.
        """
        match what_next(ended.code):
            case Next.STOP:
                return None
            case Next.GIVE_UP:
                raise ListenRefused(ended)
            case Next.COME_BACK_SOON:
                return self._uniform(0, self.SHORT)
            case Next.COME_BACK_WHEN_TOLD if ended.retry_after is not None:
                return ended.retry_after
            case _:
                return self._back_off(ended.lasted_seconds)

    def _back_off(self, lasted_seconds: float) -> float:
        if lasted_seconds >= _STEADY_SECONDS:
            self._upper = self.FIRST
        pause = self._uniform(0, self._upper)
        self._upper = min(self._upper * 2, self.LONGEST)
        return pause
