r"""Unpaired surrogates in JSON, written as an escape: ``"\ud83d"``.

JSON's grammar allows them (RFC 8259, section 8.2), and JavaScript writes one for a string that was
cut in the middle of an emoji; msgspec refuses them. Ryze passes on what producers send, so they are
masked while msgspec checks the document: ``\u`` becomes a mark of the same length that occurs
nowhere else in the document. The mark begins with ``/``, which is as good behind a backslash
(``\/``) as without one. So valid documents stay valid, invalid ones stay invalid, and restoring
gives back every byte.
"""

import re
from typing import NamedTuple

__all__ = ["MaskedDocument", "mask_surrogates"]

# All surrogates, paired ones too: so the text before and behind need not be looked at.
_surrogate = re.compile(rb"\\u(?=[dD][89a-fA-F][0-9a-fA-F]{2})")

# The second characters do not occur in base64, and hardly anywhere behind a slash.
_MARKS = (b"/~", b"/^", b"/`", b"/|", b"/<", b"/@", b"/$", b"/!")


class MaskedDocument(NamedTuple):
    """A JSON document whose surrogates are masked.

    Args:
        body: the document.
        mark: replaces the ``\\u`` of each surrogate.
    """

    body: bytes
    mark: bytes

    def restore(self, part: bytes) -> bytes:
        """Return a part of `body` with its surrogates."""
        return part.replace(self.mark, b"\\u")


def mask_surrogates(body: bytes) -> MaskedDocument | None:
    """Mask the surrogates of a document; None if it has none, or contains all of our marks."""
    if _surrogate.search(body) is None:
        return None
    for mark in _MARKS:
        if mark not in body:
            return MaskedDocument(_surrogate.sub(mark, body), mark)
    return None
