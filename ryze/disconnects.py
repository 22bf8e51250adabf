"""Catalogue of the reasons for which a WebSocket ends (contract, section 4).

One value per reason, with its close code, its metric label and the advice to the client. Pass
the value around; never type a close code at a call site. Codes 4000-4499 mean "reconnect",
4500-4999 mean "stop". The documents and ``ryze listen`` are derived from here.
"""

import enum
from dataclasses import dataclass, replace

__all__ = [
    "ALL",
    "CANCELLED",
    "CLIENT_CLOSED",
    "CONNECTION_LOST",
    "INSTANCE_DELETED",
    "INTERNAL_ERROR",
    "INVALID_EVENT",
    "INVALID_UTF8",
    "MESSAGE_TOO_BIG",
    "NO_HEARTBEAT",
    "PROTOCOL_ERROR",
    "RESTARTING",
    "SHUTTING_DOWN",
    "SLOW_CONSUMER",
    "TOKEN_REVOKED",
    "Advice",
    "Disconnect",
    "ReconnectDecision",
    "invalid_event",
]

# A control frame has at most 125 bytes, and the code takes two (RFC 6455, section 5.5).
_MAX_REASON_BYTES = 123


class ReconnectDecision(enum.Enum):
    """Decision of a client after its connection has ended."""

    #: Regular end: nothing went wrong.
    STOP = enum.auto()
    #: Reconnecting cannot help: something must be fixed first.
    GIVE_UP = enum.auto()
    #: Reconnect with exponential backoff.
    BACK_OFF = enum.auto()
    #: Reconnect after a short random wait: all clients were disconnected at the same time.
    RECONNECT_SOON = enum.auto()


class Advice(enum.Enum):
    """Advice to the client after a close code.

    Args:
        decision: for programs.
        sentence: for documents.
    """

    CONFIRMED_CLOSE = ReconnectDecision.STOP, "Nothing: this confirms its own close."
    STOP = ReconnectDecision.GIVE_UP, "Stop."
    FIX_CLIENT = ReconnectDecision.GIVE_UP, "Fix the client; do not retry."
    RECONNECT = ReconnectDecision.BACK_OFF, "Reconnect."
    RECONNECT_WITH_BACKOFF = ReconnectDecision.BACK_OFF, "Reconnect with backoff."
    READ_FASTER = ReconnectDecision.BACK_OFF, "Reconnect, and read faster."
    RECONNECT_SOON = ReconnectDecision.RECONNECT_SOON, "Reconnect after a short random wait."

    def __init__(self, decision: ReconnectDecision, sentence: str) -> None:
        self.decision = decision
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Reason for the end of one connection.

    Args:
        code: close code (RFC 6455, section 7.4); None where no close frame can be sent.
        reason: text in the close frame, at most 123 bytes.
        metric_label: low-cardinality reason, for metrics: snake_case, of a closed set.
        advice: what the client should do.
        sends_pending: pending messages are still sent before the close frame.
    """

    code: int | None
    reason: str
    metric_label: str
    advice: Advice
    sends_pending: bool = False


CLIENT_CLOSED = Disconnect(1000, "", "client_closed", Advice.CONFIRMED_CLOSE)
CONNECTION_LOST = Disconnect(
    None, "connection lost", "connection_lost", Advice.RECONNECT_WITH_BACKOFF
)
# Cancelled without a closing handshake.
CANCELLED = Disconnect(None, "cancelled", "cancelled", Advice.RECONNECT_WITH_BACKOFF)
# Reserved by the contract and not sent: a drain says RESTARTING.
SHUTTING_DOWN = Disconnect(
    1001, "shutting down", "shutting_down", Advice.RECONNECT_WITH_BACKOFF, sends_pending=True
)
PROTOCOL_ERROR = Disconnect(1002, "protocol error", "protocol_error", Advice.FIX_CLIENT)
INVALID_UTF8 = Disconnect(1007, "invalid UTF-8", "invalid_utf8", Advice.FIX_CLIENT)
# The reason is a pattern: `invalid_event` fills it in.
INVALID_EVENT = Disconnect(1008, "frame <n>: ...", "invalid_event", Advice.FIX_CLIENT)
MESSAGE_TOO_BIG = Disconnect(1009, "message too big", "message_too_big", Advice.FIX_CLIENT)
INTERNAL_ERROR = Disconnect(1011, "internal error", "internal_error", Advice.RECONNECT_WITH_BACKOFF)
RESTARTING = Disconnect(1012, "restarting", "restarting", Advice.RECONNECT_SOON, sends_pending=True)
SLOW_CONSUMER = Disconnect(4008, "slow consumer", "slow_consumer", Advice.READ_FASTER)
NO_HEARTBEAT = Disconnect(4009, "no heartbeat", "no_heartbeat", Advice.RECONNECT)
TOKEN_REVOKED = Disconnect(4501, "token revoked", "token_revoked", Advice.STOP)
INSTANCE_DELETED = Disconnect(4504, "instance deleted", "instance_deleted", Advice.STOP)


def invalid_event(frame_number: int, fault: str) -> Disconnect:
    """Name the frame of a producer that is not an event, and its fault (contract, section 6)."""
    reason = f"frame {frame_number}: {fault}".encode()[:_MAX_REASON_BYTES]
    return replace(INVALID_EVENT, reason=reason.decode(errors="ignore"))


ALL = (
    CLIENT_CLOSED,
    CONNECTION_LOST,
    CANCELLED,
    SHUTTING_DOWN,
    PROTOCOL_ERROR,
    INVALID_UTF8,
    INVALID_EVENT,
    MESSAGE_TOO_BIG,
    INTERNAL_ERROR,
    RESTARTING,
    SLOW_CONSUMER,
    NO_HEARTBEAT,
    TOKEN_REVOKED,
    INSTANCE_DELETED,
)
