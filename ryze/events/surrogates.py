r"""Half a surrogate pair, written as an escape: ``"\ud83d"``.

JSON's grammar has it (RFC 8259, section 8.2), and JavaScript writes it for a text that was cut in
the middle of an emoji; msgspec refuses it. Ryze passes on what producers send, so it is hidden
while msgspec looks: ``\u`` becomes a mark of the same length that stands nowhere else in the
document, and ``/`` in front makes it as good behind a backslash (``\/``) as without one. What is
valid stays valid, what is not stays invalid, and putting it back restores every byte.
"""

import re
from typing import NamedTuple

__all__ = ["Hidden", "hide"]

# All surrogates, paired ones too: nobody has to look at what stands before and behind.
_surrogate = re.compile(rb"\\u(?=[dD][89a-fA-F][0-9a-fA-F]{2})")

# Not found in base64, and hardly anywhere behind a slash.
_MARKS = (b"/~", b"/^", b"/`", b"/|", b"/<", b"/@", b"/$", b"/!")


class Hidden(NamedTuple):
    """A document without surrogates.

    Args:
        body: the document.
        mark: what stands in it for the beginning of each.
    """

    body: bytes
    mark: bytes

    def show(self, part: bytes) -> bytes:
        """A part of `body` as it was."""
        return part.replace(self.mark, b"\\u")


def hide(body: bytes) -> Hidden | None:
    """The document without surrogates; None if it has none, or uses every mark that we have."""
    if _surrogate.search(body) is None:
        return None
    for mark in _MARKS:
        if mark not in body:
            return Hidden(_surrogate.sub(mark, body), mark)
    return None
