"""Why a WebSocket ends: one value for each row of the contract's table (section 4).

Pass the value around; never type a close code at a call site. Codes 4000-4499 mean
"come back", 4500-4999 mean "stop".
"""

from dataclasses import dataclass

__all__ = [
    "ALL",
    "CLIENT_CLOSED",
    "CUT_OFF",
    "GONE",
    "INSTANCE_DELETED",
    "INTERNAL_ERROR",
    "INVALID_TEXT",
    "MESSAGE_TOO_BIG",
    "NO_HEARTBEAT",
    "PROTOCOL_ERROR",
    "RESTARTING",
    "SHUTTING_DOWN",
    "SLOW_CONSUMER",
    "TOKEN_REVOKED",
    "Disconnect",
    "bad_frame",
]

# A control frame has at most 125 bytes, and the code takes two (RFC 6455, section 5.5).
_MAX_REASON_BYTES = 123


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The end of one connection.

    Args:
        code: the close code (RFC 6455, section 7.4), None where no close frame can be sent.
        reason: the text in the close frame, at most 123 bytes.
        drains: what is pending is still sent before the close frame.
    """

    code: int | None
    reason: str
    drains: bool = False

    @property
    def title(self) -> str:
        """One of few texts that say why, for counting: without what only this one end had."""
        return _TITLES.get(self.code, self.reason)


# Where the reason is empty, or another one each time.
_TITLES: dict[int | None, str] = {1000: "client closed", 1008: "bad frame"}

CLIENT_CLOSED = Disconnect(1000, "")
GONE = Disconnect(None, "connection lost")
# Cancelled without farewell; for logs and metrics only.
CUT_OFF = Disconnect(None, "cut off")
# In the table of codes that clients may rely on; a drain says RESTARTING.
SHUTTING_DOWN = Disconnect(1001, "shutting down", drains=True)
PROTOCOL_ERROR = Disconnect(1002, "protocol error")
INVALID_TEXT = Disconnect(1007, "invalid UTF-8")
MESSAGE_TOO_BIG = Disconnect(1009, "message too big")
INTERNAL_ERROR = Disconnect(1011, "internal error")
RESTARTING = Disconnect(1012, "restarting", drains=True)
SLOW_CONSUMER = Disconnect(4008, "slow consumer")
NO_HEARTBEAT = Disconnect(4009, "no heartbeat")
TOKEN_REVOKED = Disconnect(4501, "token revoked")
INSTANCE_DELETED = Disconnect(4504, "instance deleted")


def bad_frame(number: int, fault: str) -> Disconnect:
    """A publisher's frame that is no event: which one, and why (contract, section 6)."""
    reason = f"frame {number}: {fault}".encode()[:_MAX_REASON_BYTES]
    return Disconnect(1008, reason.decode(errors="ignore"))


ALL = (
    CLIENT_CLOSED,
    GONE,
    CUT_OFF,
    SHUTTING_DOWN,
    PROTOCOL_ERROR,
    INVALID_TEXT,
    MESSAGE_TOO_BIG,
    INTERNAL_ERROR,
    RESTARTING,
    SLOW_CONSUMER,
    NO_HEARTBEAT,
    TOKEN_REVOKED,
    INSTANCE_DELETED,
)
