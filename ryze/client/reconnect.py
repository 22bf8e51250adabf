"""Reconnect policy: whether to reconnect after the end of a connection, and after what pause.

Each connection has one `ConnectionOutcome`, with a close code or an HTTP status. What a close
code of Ryze means stands in `ryze.disconnects`. No network, clock or randomness of its own.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from ryze import disconnects
from ryze.disconnects import ReconnectDecision
from ryze.errors import RyzeError

__all__ = [
    "ABNORMAL",
    "UNTRUSTED",
    "Backoff",
    "ConnectionEnded",
    "ConnectionOutcome",
    "ListenRefused",
    "decide_reconnect",
]

# Close codes that are never sent (RFC 6455, section 7.4.1): the connection was lost without a
# close frame; the TLS handshake failed on the certificate.
ABNORMAL = 1006
UNTRUSTED = 1015

_TOO_MANY_REQUESTS = 429

# After a connection that lasted this long, the backoff starts anew.
_STEADY_SECONDS = 10.0


@dataclass(frozen=True)
class ConnectionOutcome:
    """Outcome of a connection, or of the attempt to open one.

    Args:
        code: WebSocket close code (from 1000) or HTTP status (below 1000).
        reason: text from the server, or a description of the failure.
        retry_after: seconds of ``Retry-After``, if the server sent it.
        lasted_seconds: how long the connection was open.
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
    """A connection could not be opened, or ended before we closed it."""

    def __init__(self, outcome: ConnectionOutcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class ListenRefused(ConnectionEnded):
    """Reconnecting cannot help: the server refused, or the client must be fixed first."""


_OUR_CODES = {each.code: each.advice.decision for each in disconnects.ALL if each.code}

# HTTP statuses, and close codes that only other servers send.
_OTHER_CODES = {
    408: ReconnectDecision.BACK_OFF,  # Request Timeout: the handshake was too slow
    425: ReconnectDecision.BACK_OFF,  # Too Early, from a load balancer
    _TOO_MANY_REQUESTS: ReconnectDecision.BACK_OFF,
    1003: ReconnectDecision.GIVE_UP,  # unsupported data
    1010: ReconnectDecision.GIVE_UP,  # mandatory extension
    UNTRUSTED: ReconnectDecision.GIVE_UP,
}

_DECISIONS = _OTHER_CODES | _OUR_CODES


def decide_reconnect(code: int) -> ReconnectDecision:
    """Decide whether to reconnect after a close code (from 1000) or HTTP status (below 1000).

    Unknown codes mean "reconnect": one attempt too many is better than a subscriber that never
    comes back.
    """
    if code in _DECISIONS:
        return _DECISIONS[code]
    is_refusal = code < 500 or 4500 <= code <= 4999
    return ReconnectDecision.GIVE_UP if is_refusal else ReconnectDecision.BACK_OFF


class Backoff:
    """Exponential backoff with full jitter.

    Args:
        uniform: ``random.uniform``, or a predictable one for tests.
    """

    FIRST_SECONDS = 0.5
    MAX_SECONDS = 30.0
    # After 1012, when all clients were disconnected at the same time.
    RESTART_SECONDS = 2.0

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        # Upper bound of the next pause; doubles with each, starts anew after a steady connection.
        self._upper = self.FIRST_SECONDS

    def pause_after(self, outcome: ConnectionOutcome) -> float | None:
        """Compute the pause before the next attempt, in seconds; None after a regular end.

        Raises:
            ListenRefused: reconnecting cannot help.
        """
        match decide_reconnect(outcome.code):
            case ReconnectDecision.STOP:
                return None
            case ReconnectDecision.GIVE_UP:
                raise ListenRefused(outcome)
            case ReconnectDecision.RECONNECT_SOON:
                return self._uniform(0, self.RESTART_SECONDS)
            case ReconnectDecision.BACK_OFF:
                return self._back_off(outcome)

    def _back_off(self, outcome: ConnectionOutcome) -> float:
        if outcome.code == _TOO_MANY_REQUESTS and outcome.retry_after is not None:
            return outcome.retry_after
        if outcome.lasted_seconds >= _STEADY_SECONDS:
            self._upper = self.FIRST_SECONDS
        pause = self._uniform(0, self._upper)
        self._upper = min(self._upper * 2, self.MAX_SECONDS)
        return pause
