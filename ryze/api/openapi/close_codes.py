"""What the close codes ask of a client (contract, section 4)."""

from ryze import disconnects
from ryze.disconnects import Disconnect

__all__ = ["CLOSE_CODES", "as_table"]

_BACK = "come back with backoff"
_MEND = "be fixed"
_STOP = "stop"

_ADVICE = {
    disconnects.CLIENT_CLOSED: "nothing: this answers its own close",
    disconnects.SHUTTING_DOWN: _BACK,
    disconnects.RESTARTING: "come back after a short random wait",
    disconnects.PROTOCOL_ERROR: _MEND,
    disconnects.INVALID_TEXT: _MEND,
    disconnects.MESSAGE_TOO_BIG: _MEND,
    disconnects.bad_frame(1, "..."): _MEND,
    disconnects.INTERNAL_ERROR: _BACK,
    disconnects.SLOW_CONSUMER: "come back, and read faster",
    disconnects.NO_HEARTBEAT: "come back",
    disconnects.TOKEN_REVOKED: _STOP,
    disconnects.INSTANCE_DELETED: _STOP,
}


def _row(end: Disconnect) -> dict[str, object]:
    return {"code": end.code, "reason": end.reason, "client": _ADVICE[end]}


#: Every close code, its reason, and what the client should do.
CLOSE_CODES = [_row(end) for end in sorted(_ADVICE, key=lambda end: end.code or 0)]


def as_table() -> str:
    """The same in Markdown."""
    rows = [f"| {row['code']} | `{row['reason']}` | {row['client']} |" for row in CLOSE_CODES]
    head = ["| close code | reason | the client should |", "|---|---|---|"]
    return "\n".join([*head, *rows]).replace("| `` |", "| |")
