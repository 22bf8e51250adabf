"""Close codes for the documents, derived from `ryze.disconnects` (contract, section 4)."""

from ryze import disconnects
from ryze.disconnects import Disconnect

__all__ = ["CLOSE_CODES", "as_table"]


def _row(disconnect: Disconnect) -> dict[str, object]:
    return {
        "code": disconnect.code,
        "reason": disconnect.reason,
        "client": disconnect.advice.sentence,
    }


#: Per close code: its reason, and what the client should do.
CLOSE_CODES = [
    _row(each)
    for each in sorted(disconnects.ALL, key=lambda each: each.code or 0)
    if each.code is not None
]


def as_table() -> str:
    """Render the close codes as a Markdown table."""
    rows = [f"| {row['code']} | `{row['reason']}` | {row['client']} |" for row in CLOSE_CODES]
    head = ["| close code | reason | what the client should do |", "|---|---|---|"]
    return "\n".join([*head, *rows]).replace("| `` |", "| |")
